/*
 * Two modules in one object, as many dynamic modules have: one of the core, one of http.
 * They know their configurations by a mark, and say so when they are given those of another module.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#define MARK  0x6d61726b6d61726bULL

/* No pointer is found in here by a module that takes it for its own. */
typedef struct {
    uint64_t  mark;
    uint64_t  rest[127];
} another_conf_t;

static another_conf_t *
make(ngx_pool_t *pool)
{
    ngx_uint_t       i;
    another_conf_t  *conf;

    conf = ngx_palloc(pool, sizeof(another_conf_t));
    if (conf != NULL) {
        conf->mark = MARK;
        for (i = 0; i < 127; i++) {
            conf->rest[i] = 0x4141414141414141ULL;
        }
    }

    return conf;
}

static void
check(ngx_log_t *log, void *conf, char *where)
{
    another_conf_t  *found = conf;

    if (found == NULL || found->mark != MARK) {
        ngx_log_error(NGX_LOG_EMERG, log, 0, "%s: the configuration of another module", where);
    }
}

static void *
core_create(ngx_cycle_t *cycle)
{
    return make(cycle->pool);
}

static char *
core_init(ngx_cycle_t *cycle, void *conf)
{
    check(cycle->log, conf, "init_conf");
    return NGX_CONF_OK;
}

static void *
http_create(ngx_conf_t *cf)
{
    return make(cf->pool);
}

static char *
http_init(ngx_conf_t *cf, void *conf)
{
    check(cf->log, conf, "init_main_conf");
    return NGX_CONF_OK;
}

static char *
http_merge(ngx_conf_t *cf, void *parent, void *child)
{
    check(cf->log, parent, "merge, parent");
    check(cf->log, child, "merge, child");
    return NGX_CONF_OK;
}

extern ngx_module_t  another_core_module;

static ngx_int_t
core_init_module(ngx_cycle_t *cycle)
{
    check(cycle->log, cycle->conf_ctx[another_core_module.index], "init_module");
    return NGX_OK;
}

static ngx_core_module_t  core_context = { ngx_string("another"), core_create, core_init };

static ngx_http_module_t  http_context = {
    NULL, NULL, http_create, http_init, http_create, http_merge, http_create, http_merge
};

ngx_module_t  another_core_module = {
    NGX_MODULE_V1, &core_context, NULL, NGX_CORE_MODULE,
    NULL, core_init_module, NULL, NULL, NULL, NULL, NULL,
    NGX_MODULE_V1_PADDING
};

ngx_module_t  another_http_module = {
    NGX_MODULE_V1, &http_context, NULL, NGX_HTTP_MODULE,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NGX_MODULE_V1_PADDING
};

ngx_module_t *ngx_modules[] = { &another_core_module, &another_http_module, NULL };

char *ngx_module_names[] = { "another_core_module", "another_http_module", NULL };

char *ngx_module_order[] = { NULL };
