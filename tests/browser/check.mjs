// Opens pages in Chromium, wide and narrow, light and dark, and fails if axe-core finds a violation, if a page is
// wider than its window, or if something that can be used is not reached, or not seen to be reached, by the
// keyboard. check.mjs [--picture FILE] PAGE...
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import puppeteer from 'puppeteer-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const sizes = { desktop: { width: 1280, height: 900 }, phone: { width: 375, height: 800 } };
const arguments_ = process.argv.slice(2);
const picture = arguments_[0] === '--picture' ? arguments_.splice(0, 2)[1] : undefined;
let faults = 0;

function fault(text) {
    faults += 1;
    console.log(`    ${text}`);
}

// Goes through the page by the tabulator key, and looks at what has the focus.
async function keyboard(page) {
    const usable = await page.$$eval('a, button, input:not([type=hidden]), summary, [tabindex="0"]', (all) => all.length);
    let reached = 0;
    for (; reached <= usable; reached += 1) {
        await page.keyboard.press('Tab');
        const outline = await page.evaluate(() => {
            const it = document.activeElement;
            return it === document.body ? undefined : getComputedStyle(it).outlineStyle;
        });
        if (outline === undefined) break;
        if (outline === 'none') fault(`the ${reached + 1}. element that the keyboard reaches shows no outline`);
    }
    if (reached < usable) fault(`the keyboard reaches ${reached} of ${usable} elements`);
}

async function check(browser, path, size, scheme) {
    const page = await browser.newPage();
    await page.setViewport(sizes[size]);
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    await page.goto(`file://${resolve(path)}`);
    await page.evaluate(axe);
    const result = await page.evaluate(() => globalThis.axe.run(document));
    console.log(`${path}, ${size}, ${scheme}: ${result.passes.length} rules passed, ${result.violations.length} violated`);
    for (const violation of result.violations) {
        fault(`${violation.id}: ${violation.help}: ${violation.nodes[0].html}`);
    }
    const isWide = await page.evaluate(() => {
        const { scrollWidth, clientWidth } = document.documentElement;
        return scrollWidth > clientWidth;
    });
    if (isWide) fault('the page is wider than the window');
    await keyboard(page);
    if (picture && size === 'desktop' && scheme === 'light' && path === arguments_[0]) {
        await page.setViewport({ width: 960, height: 1200 });
        await page.evaluate(() => {
            document.activeElement?.blur();
            scrollTo(0, 0);
        });
        await page.screenshot({ path: picture });
    }
    await page.close();
}

const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // As root there is no sandbox.
    args: process.getuid() === 0 ? ['--no-sandbox'] : [],
});
for (const path of arguments_) {
    for (const size of Object.keys(sizes)) {
        for (const scheme of ['light', 'dark']) await check(browser, path, size, scheme);
    }
}
await browser.close();
process.exitCode = faults === 0 ? 0 : 1;
