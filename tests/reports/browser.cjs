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

// What the page's own script does when it is used; runs in the page.
function answers() {
  const found = { readouts: {}, csv: {}, svg: {} };
  for (const figure of document.querySelectorAll("figure:has(script.numbers)")) {
    const numbers = JSON.parse(figure.querySelector("script.numbers").textContent);
    found.csv[numbers.name] = asCsv(numbers);
    const svg = figure.querySelector("svg");
    found.svg[numbers.name] = asSvg(svg);
    svg.dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
    found.readouts[numbers.name] = figure.querySelector(".readout")?.textContent ?? "";
    const line = svg.querySelector(".pointed line");
    if (line) {
      const box = line.getBoundingClientRect();
      svg.dispatchEvent(new PointerEvent("pointermove", { clientX: box.x, clientY: box.y }));
      if (figure.querySelector(".readout").textContent !== found.readouts[numbers.name])
        found.readouts[numbers.name] = "the pointer meets another row than the keys";
      svg.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    }
  }
  const table = document.querySelector("table");
  found.markdown = table ? asMarkdown(table) : "";
  found.latex = table ? asLatex(table) : "";
  found.tableCsv = table ? tableAsCsv(table) : "";
  const stacked = document.querySelector("table.stacked tbody tr");
  found.stacked = stacked ? getComputedStyle(stacked).display === "block" : null;
  const range = document.querySelector(".slider input");
  const captions = () =>
    [...document.querySelectorAll(".class-images:first-child figure")]
      .filter((figure) => getComputedStyle(figure).display !== "none")
      .map((figure) => figure.querySelector("figcaption").textContent);
  if (range) {
    found.slid = [captions()];
    range.value = "1";
    range.dispatchEvent(new Event("input"));
    found.slid.push(captions());
  }
  const look = document.querySelector(".look");
  if (look) {
    look.click();
    const [small, large] = [look.querySelector("img"), document.querySelector("dialog img")];
    found.scale = [large.width / small.naturalWidth, large.height / small.naturalHeight];
    found.rendering = getComputedStyle(large).imageRendering;
    document.querySelector("dialog").close();
  }
  const sort = document.querySelector("table.sortable th .sort");
  if (sort) {
    const column = () => [...sort.closest("table").tBodies[0].rows].map((row) => row.cells[0].dataset.value);
    sort.click();
    found.sorted = [column()];
    sort.click();
    found.sorted.push(column());
    const filter = document.querySelector(".filter input");
    if (filter) {
      filter.value = "a";
      filter.dispatchEvent(new Event("input"));
      found.filtered = [...sort.closest("table").tBodies[0].rows].filter((row) => !row.hidden).length;
      filter.value = "";
      filter.dispatchEvent(new Event("input"));
    }
    found.choices = [...document.querySelectorAll(".filter select")].map((select) => select.parentElement.innerText.split(" ")[0]);
  }
  return found;
}

// The page where no script runs: how many figures are there to be seen.
async function withoutScripts(browser, address) {
  const tab = await browser.newPage();
  await tab.setJavaScriptEnabled(false);
  await tab.goto(address, { waitUntil: "load" });
  const content = await tab.content();
  const pdf = await tab.pdf({ format: "A4" });
  await tab.close();
  return { drawn: (content.match(/<svg class="chart"/g) ?? []).length, pdf: pdf.length };
}

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
  found.answers = await tab.evaluate(answers);
  await tab.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = true)));
  found.overflow = await tab.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  // Tables that are wider than their place; figures and files may scroll.
  found.cut = await tab.evaluate(() =>
    [...document.querySelectorAll(".scroll:has(> table)")]
      .filter((region) => !region.closest("details.numbers"))
      .filter((region) => region.scrollWidth > region.clientWidth + 1)
      .map((region) => region.getAttribute("aria-label")),
  );
  // Columns of numbers whose heads stand elsewhere.
  found.heads = await tab.evaluate(() =>
    [...document.querySelectorAll("table:has(thead):has(tbody tr)")].flatMap((table) =>
      [...table.tHead.rows[0].cells]
        .filter((head, column) => {
          const cells = [...table.tBodies[0].rows].map((row) => row.cells[column]);
          return cells.every((cell) => cell?.matches(".number")) !== head.matches(".number");
        })
        .map((head) => head.innerText),
    ),
  );
  found.commands = await tab.evaluate(() =>
    [...document.querySelectorAll("pre")].map((code) => getComputedStyle(code).backgroundColor),
  );
  // The least height of letters in a drawing, in pixels of the window.
  found.letters = await tab.evaluate(() =>
    Math.min(
      ...[...document.querySelectorAll("svg.chart text")].map((text) => {
        const scale = text.getScreenCTM();
        return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(scale.a, scale.b);
      }),
    ),
  );
  // Where the caption and the drawing of a figure begin that is alone in its row.
  found.alone = await tab.evaluate(() =>
    [...document.querySelectorAll(".charts > .figure:last-child:nth-child(odd)")]
      .filter((figure) => figure.querySelector("svg"))
      .map((figure) => ["figcaption", "svg"].map((part) => figure.querySelector(part).getBoundingClientRect().x)),
  );
  found.contents = await tab.evaluate(() => {
    const contents = document.querySelector(".contents");
    if (!contents) return null;
    scrollTo(0, document.documentElement.scrollHeight / 2);
    const box = contents.getBoundingClientRect();
    scrollTo(0, 0);
    return { top: box.top, width: box.width };
  });
  // Whether the first two classes of small pictures stand beside each other.
  found.together = await tab.evaluate(() => {
    const [one, other] = document.querySelectorAll(".gallery.small > li");
    return other ? one.getBoundingClientRect().y === other.getBoundingClientRect().y : null;
  });
  // The colours behind the pictures, which show between the images.
  found.behind = await tab.evaluate(() =>
    Object.fromEntries(
      [...document.querySelectorAll(".sheet img, .thumbnail img, .class-images img")].map((image) => [
        image.className,
        getComputedStyle(image).backgroundColor,
      ]),
    ),
  );
  found.background = await tab.evaluate(() => getComputedStyle(document.body).backgroundColor);
  found.line = await tab.evaluate(() => {
    const line = [...document.querySelectorAll("svg.chart path")].pop();
    return line ? getComputedStyle(line).fill + getComputedStyle(line).stroke : "";
  });
  found.broken = await tab.evaluate(
    () => [...document.images].filter((i) => !i.complete || i.naturalWidth === 0).length,
  );
  // The page's policy forbids all scripts but its own; the tool's come in by another way.
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
  let without;
  try {
    for (const scheme of ["light", "dark"])
      for (const width of [1280, 390])
        visits.push(await visit(browser, pathToFileURL(page).href, scheme, width));
    without = await withoutScripts(browser, pathToFileURL(page).href);
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify({ visits, without }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
