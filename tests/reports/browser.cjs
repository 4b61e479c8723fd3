// Opens a page in a headless Chromium and prints as JSON what a reader would meet:
// requests beyond the file, console and page errors, axe-core violations, sideways overflow.
// Usage: node browser.cjs CHROMIUM MODULES PAGE PROFILE [SCREENSHOTS]
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const [chromium, modules, page, profile, screenshots] = process.argv.slice(2);
const puppeteer = require(path.join(modules, "puppeteer-core"));
const axe = path.join(modules, "axe-core", "axe.min.js");

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--lang=en-US",
];

async function visit(browser, address, scheme, width) {
  const tab = await browser.newPage();
  const found = { scheme, width, requests: [], errors: [] };
  tab.on("request", (request) => {
    const url = request.url();
    if (url !== address && !url.startsWith("data:")) found.requests.push(url);
  });
  tab.on("console", (message) => {
    if (["error", "warn"].includes(message.type())) found.errors.push(message.text());
  });
  tab.on("pageerror", (error) => found.errors.push(String(error)));
  await tab.setViewport({ width, height: 900, isMobile: width < 600 });
  await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await tab.goto(address, { waitUntil: "load" });
  if (screenshots)
    await tab.screenshot({ path: path.join(screenshots, `${scheme}-${width}.png`), fullPage: true });
  await tab.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = true)));
  found.overflow = await tab.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  found.background = await tab.evaluate(() => getComputedStyle(document.body).backgroundColor);
  found.line = await tab.evaluate(() => {
    const line = [...document.querySelectorAll("svg.chart path")].pop();
    return line ? getComputedStyle(line).fill + getComputedStyle(line).stroke : "";
  });
  found.broken = await tab.evaluate(
    () => [...document.images].filter((i) => !i.complete || i.naturalWidth === 0).length,
  );
  // The page's policy forbids scripts; only what the browser tool adds itself may run.
  await tab.evaluate(require("node:fs").readFileSync(axe, "utf8"));
  const result = await tab.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  found.violations = result.violations.map((v) => ({
    id: v.id,
    help: v.help,
    nodes: v.nodes.map((n) => n.html.slice(0, 200)),
  }));
  found.passes = result.passes.length;
  await tab.close();
  return found;
}

async function main() {
  const browser = await puppeteer.launch({
    executablePath: chromium,
    userDataDir: profile,
    headless: true,
    args: FLAGS,
  });
  const visits = [];
  try {
    for (const scheme of ["light", "dark"])
      for (const width of [1280, 390])
        visits.push(await visit(browser, pathToFileURL(page).href, scheme, width));
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify(visits));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
