//! Scripts that run inside Redis, each as one step.
//!
//! The stream of news counts the changes: the number of a change is that of its entry, so that a gap in what was read shows
//! that something is missing.

/// Defines the function that adds an entry to the stream of news, of a length, and gives its number.
macro_rules! with_announce {
    ($script:literal) => {
        concat!(
            r"
local function announce(news, path, length)
  local last = '0'
  if redis.call('EXISTS', news) == 1 then
    local info = redis.call('XINFO', 'STREAM', news)
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then last = string.match(info[i + 1], '^%d+') end
    end
  end
  local new = string.format('%.0f', tonumber(last) + 1)
  redis.call('XADD', news, 'MAXLEN', length, new .. '-0', 'path', path)
  return new
end
",
            $script
        )
    };
}

/// Changes a record. Keys: records, news, lease. Arguments: path, expected revision or nothing, `put` or `remove`, content,
/// token of the lease or nothing, length of the stream. Gives the new revision, or why nothing was done.
pub(super) const WRITE: &str = with_announce!(
    r"
if ARGV[5] ~= '' and redis.call('GET', KEYS[3]) ~= ARGV[5] then return 'fenced' end
local old = redis.call('HGET', KEYS[1], ARGV[1])
local revision = old and string.match(old, '^%d+') or ''
if revision ~= ARGV[2] then return 'lost' end
local new = announce(KEYS[2], ARGV[1], ARGV[6])
if ARGV[3] == 'put' then
  redis.call('HSET', KEYS[1], ARGV[1], new .. ' ' .. ARGV[4])
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return new
"
);

/// Takes a lease. Keys: lease, counter of fences. Arguments: token, time in milliseconds. Gives the fence, or 0.
pub(super) const TAKE: &str = r"
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
return redis.call('INCR', KEYS[2])
";

/// Renews a lease. Key: lease. Arguments: token, time in milliseconds. Gives 1 if it is held.
pub(super) const RENEW: &str = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
";

/// Gives a lease back. Keys: lease, news. Arguments: token, path by which that is told, length of the stream.
pub(super) const RELEASE: &str = with_announce!(
    r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
announce(KEYS[2], ARGV[2], ARGV[3])
return redis.call('DEL', KEYS[1])
"
);

/// Gives the number of the last change. Key: news.
pub(super) const LAST: &str = r"
if redis.call('EXISTS', KEYS[1]) == 0 then return '0' end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then return string.match(info[i + 1], '^%d+') end
end
";
