// What the page gains if scripts may run: figures that respond to the pointer, figures and their
// numbers as files, tables as Markdown, LaTeX and CSV, a slider over the saved iterations, a closer
// look, sorted and filtered lists, stacked tables on a phone.
// Without it the page has every figure, table and picture as well.
"use strict";

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function button(words, act) {
  const made = element("button", { type: "button" }, words);
  made.addEventListener("click", () => act(made));
  return made;
}

function said(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(said).join(", ");
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en-GB");
  return String(Number(value.toPrecision(4)));
}

function save(name, kind, text) {
  const link = element("a", { download: name });
  link.href = URL.createObjectURL(new Blob([text], { type: kind }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

// --- figures

function csvCell(value) {
  let text = Array.isArray(value) ? value.join(" ") : value === null ? "" : String(value);
  // A spreadsheet would take such a text for a formula.
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)))
    text = `'${text}`;
  text = text.replaceAll("\r", " ");
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function asCsv(numbers) {
  const rows = [numbers.columns.map((column) => column.name)];
  for (let row = 0; row < numbers.columns[0].values.length; row++)
    rows.push(numbers.columns.map((column) => column.values[row]));
  return rows.map((row) => row.map(csvCell).join(",") + "\n").join("");
}

function asJson(numbers) {
  const columns = Object.fromEntries(numbers.columns.map(({ name, values }) => [name, values]));
  return JSON.stringify({ columns }, null, 1) + "\n";
}

// The drawing as a file of its own: the colours and fonts that the page gives it, written out.
function asSvg(svg) {
  const drawing = svg.cloneNode(true);
  const style = getComputedStyle(document.documentElement);
  for (const layer of drawing.querySelectorAll(".pointed")) layer.remove();
  const { width, height } = svg.viewBox.baseVal;
  drawing.setAttribute("width", `${width}pt`);
  drawing.setAttribute("height", `${height}pt`);
  for (const name of ["class", "tabindex"]) drawing.removeAttribute(name);
  // The page is HTML, whose entities an SVG file does not know.
  return new XMLSerializer().serializeToString(drawing).replaceAll(/var\((--[a-z0-9-]+)\)/g, (_, name) =>
    style.getPropertyValue(name).trim().replaceAll('"', "'"),
  );
}

// Prints the figure alone, on a page of its size: print dialogs save it as PDF, with its text.
function printAlone(svg) {
  const { width, height } = svg.viewBox.baseVal;
  const alone = svg.cloneNode(true);
  const box = element("div", { class: "printed" });
  const size = element("style");
  size.textContent =
    `@page { size: ${width}pt ${height}pt; margin: 0 }` +
    "@media print { body > :not(.printed) { display: none !important } }";
  box.append(alone, size);
  document.body.append(box);
  addEventListener("afterprint", () => box.remove(), { once: true });
  print();
}

function offerNumbers(figure, numbers) {
  const svg = figure.querySelector("svg");
  const files = element("p", { class: "offers" }, "Save: ");
  files.append(
    button("CSV", () => save(`${numbers.name}.csv`, "text/csv", asCsv(numbers))),
    button("JSON", () => save(`${numbers.name}.json`, "application/json", asJson(numbers))),
    button("SVG", () => save(`${numbers.name}.svg`, "image/svg+xml", asSvg(svg))),
    button("PDF", () => printAlone(svg)),
  );
  const details = figure.querySelector("details.numbers");
  details.querySelector("summary").textContent = "Numbers and files of this figure";
  details.querySelector("summary").after(files);
}

function nearest(values, wanted) {
  // The values rise.
  let low = 0;
  let high = values.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle;
    else high = middle;
  }
  return wanted - values[low] < values[high] - wanted ? low : high;
}

function answerPointer(figure, numbers) {
  const svg = figure.querySelector("svg");
  const { frame, shift, columns } = numbers;
  const places = columns[0].values;
  const traced = columns.filter((column) => column.traced);
  if (!frame || places.length < 2) return;
  const across = (value) =>
    frame.left + ((value + shift - frame.low[0]) / (frame.high[0] - frame.low[0])) * (frame.right - frame.left);
  const scaled = frame.logarithmic ? Math.log : (value) => value;
  const up = (value) =>
    frame.bottom -
    ((scaled(value) - scaled(frame.low[1])) / (scaled(frame.high[1]) - scaled(frame.low[1]))) * (frame.bottom - frame.top);
  const layer = document.createElementNS("http://www.w3.org/2000/svg", "g");
  layer.setAttribute("class", "pointed");
  svg.append(layer);
  const words = element("p", { class: "readout", "aria-live": "polite" });
  words.textContent = "\u00a0";
  svg.after(words);
  let current = -1;

  function clear() {
    layer.replaceChildren();
    words.textContent = "\u00a0";
    current = -1;
  }

  function show(row) {
    if (row === current) return;
    current = row;
    const x = across(places[row]);
    const shape = (tag, attributes) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
      return made;
    };
    layer.replaceChildren(shape("line", { x1: x, x2: x, y1: frame.top, y2: frame.bottom }));
    for (const column of traced) {
      const value = column.values[row];
      if (value !== null && Number.isFinite(up(value))) layer.append(shape("circle", { cx: x, cy: up(value), r: 3 }));
    }
    words.textContent = columns
      .filter((column) => column.shown && said(column.values[row]) !== "")
      .map((column) => `${column.name} ${said(column.values[row])}`)
      .join(" · ");
  }

  function meet(event) {
    const box = svg.getBoundingClientRect();
    const view = svg.viewBox.baseVal;
    const x = ((event.clientX - box.left) / box.width) * view.width;
    const share = (x - frame.left) / (frame.right - frame.left);
    if (share < -0.05 || share > 1.05) return clear();
    show(nearest(places, frame.low[0] + share * (frame.high[0] - frame.low[0]) - shift));
  }

  svg.addEventListener("pointermove", meet);
  svg.addEventListener("pointerdown", meet);
  svg.addEventListener("pointerleave", clear);
  svg.setAttribute("tabindex", "0");
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (event.key === "Home") show(0);
    else if (event.key === "End") show(places.length - 1);
    else if (event.key === "Escape") clear();
    else if (step) show(Math.max(0, Math.min(places.length - 1, current < 0 ? 0 : current + step)));
    else return;
    event.preventDefault();
  });
}

for (const script of document.querySelectorAll("figure script.numbers")) {
  const figure = script.closest("figure");
  const numbers = JSON.parse(script.textContent);
  answerPointer(figure, numbers);
  offerNumbers(figure, numbers);
}

// --- tables

function asMarkdown(table) {
  const text = (cell) => cell.innerText.trim().replaceAll(/\s+/g, " ").replaceAll("|", "\\|");
  const rows = [...table.rows].map((row) => [...row.cells].map(text));
  if (!table.tHead) rows.unshift(rows[0].map(() => ""));
  rows.splice(1, 0, rows[0].map(() => "---"));
  return rows.map((row) => `| ${row.join(" | ")} |\n`).join("");
}

function tableRows(table) {
  const text = (cell) => cell.innerText.trim().replaceAll(/\s+/g, " ");
  return [...table.rows].map((row) => [...row.cells].map(text));
}

function tableAsCsv(table) {
  return tableRows(table).map((row) => row.map(csvCell).join(",") + "\n").join("");
}

const TEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
for (const character of "&%$#_{}") TEX[character] = `\\${character}`;

function asLatex(table) {
  const escaped = (text) =>
    text
      .replaceAll(/[\\~^&%$#_{}]/g, (character) => TEX[character])
      .replaceAll("\u00b1", "$\\pm$")
      .replaceAll("\u2212", "$-$");
  const lines = tableRows(table).map((row) => row.map(escaped).join(" & ") + " \\\\\n");
  const columns = [...table.tBodies[0].rows[0].cells].map((cell) => (cell.matches(".number") ? "r" : "l"));
  const head = table.tHead ? lines.shift() + "\\midrule\n" : "";
  return (
    `\\begin{tabular}{${columns.join("")}}\n\\toprule\n${head}${lines.join("")}` +
    "\\bottomrule\n\\end{tabular}\n"
  );
}

function copier(name, write, table) {
  return button(name, async (made) => {
    await copy(write(table));
    made.textContent = "Copied";
    setTimeout(() => (made.textContent = name), 1500);
  });
}

for (const region of document.querySelectorAll(".scroll:has(> table)")) {
  if (region.closest("details.numbers")) continue;
  const table = region.querySelector("table");
  const offers = element("details", { class: "offers" }, element("summary", {}, "Copy this table"));
  offers.append(
    copier("Markdown", asMarkdown, table),
    copier("LaTeX", asLatex, table),
    copier("CSV", tableAsCsv, table),
  );
  region.after(offers);
}

// On a phone such a table shows one cell below the other, each with the name of its column. Cells
// that are no table cells to the browser any more are given the roles of such.
function nameColumns(table) {
  const names = [...table.tHead.rows[0].cells].map((head) => head.innerText.trim());
  table.setAttribute("role", "table");
  for (const part of [table.tHead, ...table.tBodies, table.tFoot])
    if (part) part.setAttribute("role", "rowgroup");
  for (const row of table.rows) {
    row.setAttribute("role", "row");
    [...row.cells].forEach((cell, column) => {
      const heads = cell.closest("thead") ? "columnheader" : "rowheader";
      cell.setAttribute("role", cell.tagName === "TH" ? heads : "cell");
      cell.dataset.label = names[column];
      // The name and the content stand side by side, so the content must be one element.
      if (cell.childNodes.length > 1) cell.append(element("span", {}, ...cell.childNodes));
    });
  }
}

for (const table of document.querySelectorAll("table.stacked")) nameColumns(table);

function key(cell) {
  const text = cell.dataset.value ?? cell.innerText.trim();
  const number = Number(text.replaceAll("\u2212", "-").replaceAll(",", ""));
  return text === "" ? null : Number.isNaN(number) ? text : number;
}

function compared(one, other) {
  if (one === null || other === null) return (one === null) - (other === null);
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en");
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const sort = button(head.innerText, () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      // Empty cells stay last, whichever way the column is sorted.
      rows.sort((a, b) => {
        const [one, other] = [key(a.cells[column]), key(b.cells[column])];
        const empty = one === null || other === null;
        return compared(one, other) * (falling && !empty ? -1 : 1);
      });
      table.tBodies[0].append(...rows);
    });
    sort.className = "sort";
    head.replaceChildren(sort);
  });
}

// A field for words, and a choice for every column that says so and has several values.
function offerFilters(table) {
  const rows = [...table.tBodies[0].rows];
  const words = element("input", { type: "search", autocomplete: "off" });
  const shown = element("output");
  const line = element("p", { class: "filter" }, element("label", {}, "Show rows with the words ", words));
  const choices = [...table.tHead.rows[0].cells].flatMap((head, column) => {
    const text = (row) => row.cells[column].dataset.value ?? row.cells[column].innerText.trim();
    const values = [...new Set(rows.map(text))].sort((one, other) => one.localeCompare(other, "en", { numeric: true }));
    if (!head.matches(".choice") || values.length < 2) return [];
    const select = element("select", {}, element("option", { value: "" }, "all"));
    for (const value of values) select.append(element("option", {}, value || "none"));
    line.append(element("label", {}, `${head.innerText.trim()} `, select));
    return [{ select, matches: (row) => !select.selectedIndex || text(row) === values[select.selectedIndex - 1] }];
  });

  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = rows.filter((row) => {
      const text = row.textContent.toLowerCase();
      row.hidden = !(wanted.every((word) => text.includes(word)) && choices.every((choice) => choice.matches(row)));
      return !row.hidden;
    });
    shown.textContent = kept.length < rows.length ? `${kept.length} of ${rows.length}` : "";
  }

  words.addEventListener("input", filter);
  for (const { select } of choices) select.addEventListener("change", filter);
  line.append(shown);
  table.parentElement.before(line);
}

for (const table of document.querySelectorAll("table.sortable"))
  if (table.tBodies[0].rows.length >= 4) offerFilters(table);

// --- the page as a whole

// The contents mark the section at the top of the window.
const links = new Map(
  [...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]),
);
const seen = new IntersectionObserver(
  (entries) => {
    const entered = entries.filter((entry) => entry.isIntersecting).at(-1);
    if (!entered) return;
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(entered.target.id)?.setAttribute("aria-current", "location");
  },
  { rootMargin: "0px 0px -70% 0px" },
);
for (const heading of document.querySelectorAll("h2[id]")) if (links.has(heading.id)) seen.observe(heading);

// A link into something folded opens it; what is printed is opened too.
function unfold() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  for (let at = target && target.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
  if (target) target.scrollIntoView();
}
addEventListener("hashchange", unfold);
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("main details")) folded.open = true;
});
if (location.hash) unfold();

// --- synthetic images

for (const gallery of document.querySelectorAll(".gallery[data-iterations]")) {
  const iterations = gallery.dataset.iterations.split(" ").map(Number);
  if (iterations.length < 3) continue;
  const start = iterations.indexOf(Number(gallery.dataset.result));
  const range = element("input", { type: "range", min: 1, max: iterations.length - 1, value: start });
  const now = element("output");
  range.addEventListener("input", () => {
    const wanted = iterations[range.valueAsNumber];
    now.textContent = `iteration ${said(wanted)}`;
    range.setAttribute("aria-valuetext", now.textContent);
    for (const figure of gallery.querySelectorAll("figure[data-iteration]")) {
      const own = Number(figure.dataset.iteration);
      figure.classList.toggle("between", own !== iterations[0] && own !== wanted);
    }
  });
  gallery.before(element("p", { class: "slider" }, element("label", {}, "Saved iteration ", range), " ", now));
  range.dispatchEvent(new Event("input"));
}

const closer = element("dialog", { class: "closer", "aria-label": "A closer look" });
closer.addEventListener("click", () => closer.close());
document.body.append(closer);
for (const image of document.querySelectorAll(".class-images img, .sheet img")) {
  const look = button("", () => {
    const large = image.cloneNode();
    const room = [innerWidth * 0.9 / image.naturalWidth, innerHeight * 0.8 / image.naturalHeight];
    const scale = Math.max(1, Math.floor(Math.min(...room)));
    large.width = image.naturalWidth * scale;
    large.height = image.naturalHeight * scale;
    closer.replaceChildren(large, element("p", {}, image.alt + ", "), element("button", { type: "button", autofocus: "" }, "Close"));
    closer.showModal();
  });
  look.className = "look";
  look.title = "A closer look";
  image.replaceWith(look);
  look.append(image);
}
