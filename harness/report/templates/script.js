// The page is whole without this: it only sorts, filters, unfolds and moves about.
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const UNFOLDED_ROWS = 400; // a filter unfolds no more at once: laying out thousands takes seconds

  // Folds: a link into one opens it, and paper has them open.
  const unfold = (target) => {
    for (let node = target.parentElement; node; node = node.parentElement)
      if (node.tagName === "DETAILS") node.open = true;
  };
  const reveal = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (!target) return;
    unfold(target);
    const outer = target.querySelector(":scope > details");
    if (outer) outer.open = true;
    target.scrollIntoView({ block: target.tagName === "TR" ? "center" : "start" });
  };
  addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (link && link.hash === location.hash) reveal(); // the same link twice changes no hash
  });
  reveal();

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details[data-print]:not([open])");
    folded.forEach((fold) => { fold.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((fold) => { fold.open = false; }));

  // Where we are: the link of the section that is being read.
  const sections = all("section[id]");
  const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
  const nav = document.querySelector("nav ul");
  let here = sections[0];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.get(here.id)?.removeAttribute("aria-current");
      here = entry.target;
      const link = links.get(here.id);
      if (!link) continue;
      link.setAttribute("aria-current", "true");
      nav.scrollLeft = link.offsetLeft - (nav.clientWidth - link.offsetWidth) / 2;
    }
  }, { rootMargin: "-20% 0px -75%" });
  sections.forEach((section) => seen.observe(section));

  // Sorting: every table that has a few rows, by the number or the words of a column.
  const UNITS = { ms: 1e-3, s: 1, min: 60, h: 3600, bytes: 1, kB: 1e3, MB: 1e6, GB: 1e9 };
  const number = (text) => {
    if (text.startsWith("exact")) return Infinity;
    if (/^(–|not evaluated|not a number|−∞)/.test(text)) return -Infinity;
    const found = /^(<\s)?([+−-]?)(\d[\d\u202f]*(?:\.\d+)?(?:e[+-]?\d+)?)\s*([a-zA-Z]*)/.exec(text);
    if (!found) return NaN;
    const size = Number(found[3].replace(/\u202f/g, "")) * (UNITS[found[4]] || 1);
    const rest = found[4] === "min" && /min (\d+)/.exec(text.replace(/\u00a0/g, " "));
    return (found[2] && found[2] !== "+" ? -1 : 1) * (size + (rest ? Number(rest[1]) : 0));
  };
  const order = (rows, column, sign) => {
    const texts = rows.map((row) => row.cells[column].textContent.trim());
    const numbers = texts.map(number);
    const plain = numbers.some(Number.isNaN);
    const words = new Intl.Collator("en", { numeric: true });
    return rows.map((row, place) => place).sort((a, b) => {
      const difference = plain ? words.compare(texts[a], texts[b]) : numbers[a] - numbers[b];
      return sign * (difference || 0) || a - b;
    }).map((place) => rows[place]);
  };
  const sort = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const down = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    body.append(...order([...body.rows], column, down ? -1 : 1));
  };
  for (const table of all("main table")) {
    const body = table.tBodies[0];
    if (!table.tHead || body.rows.length < 3) continue;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, column));
    });
  }

  // Finding checks: words and a verdict; what does not fit is hidden, what fits is unfolded.
  const checks = document.getElementById("checks");
  const tools = document.getElementById("check-tools");
  const query = tools.querySelector("input");
  const state = tools.querySelector("select");
  const shown = tools.querySelector("output");
  const folds = all("details[data-fold]", checks);
  const first = new Map(folds.map((fold) => [fold, fold.open]));
  let tables = null;
  const index = () => all("table.checks", checks).map((table) => {
    const fold = table.closest("details");
    const shared = table.classList.contains("group")
      ? `${fold.querySelector("summary").textContent} ${table.caption.textContent}` : "";
    const layer = table.closest(".layer").id.slice(6);
    const about = `${layer} ${shared} `.toLowerCase();
    const rows = [...table.tBodies[0].rows].map((row) => ({
      row,
      text: about + row.textContent.toLowerCase(),
      state: shared ? table.dataset.state : row.className,
    }));
    return { fold, shared, rows };
  });
  const filter = () => {
    tables = tables || index();
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const active = Boolean(words.length || state.value);
    const hits = new Map(folds.map((fold) => [fold, 0]));
    let count = 0, total = 0, left = UNFOLDED_ROWS;
    for (const { fold, shared, rows } of tables) {
      let mine = 0;
      for (const { row, text, state: verdict } of rows) {
        const hit = (!state.value || verdict === state.value)
          && words.every((word) => text.includes(word));
        if (row.hidden === hit) row.hidden = !hit;
        mine += hit;
      }
      count += mine;
      total += rows.length;
      for (let node = fold; node; node = node.parentElement.closest("details"))
        hits.set(node, hits.get(node) + mine);
      if (shared) {
        fold.open = active ? mine > 0 && mine <= left : first.get(fold);
        left -= fold.open && active ? mine : 0;
      }
    }
    for (const [fold, mine] of hits) {
      fold.hidden = active && !mine;
      if (!fold.classList.contains("inner")) fold.open = active ? mine > 0 : first.get(fold);
    }
    for (const part of all(".part", checks))
      part.hidden = all("details.inner", part).every((fold) => fold.hidden);
    shown.textContent = active ? `${count} of ${total} checks shown` : "";
  };
  let timer = 0;
  query.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(filter, 120); });
  state.addEventListener("change", filter);
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("reset", () => setTimeout(filter));
  tools.hidden = false;

  // Keys, which the dialog explains and turns off (a voice that says letters must not press them).
  const dialog = document.getElementById("keys");
  const enabled = dialog.querySelector("input");
  const said = document.getElementById("said");
  let row = null;
  const go = (section) => {
    section.tabIndex = -1;
    section.scrollIntoView({ block: "start" });
    section.focus({ preventScroll: true });
  };
  const step = (by) => {
    const place = sections.indexOf(here) + by;
    if (sections[place]) go(here = sections[place]);
  };
  const attention = (by) => {
    const rows = all(".attention tbody tr:not([hidden])", checks);
    said.textContent = rows.length ? "" : "No check failed or was left out.";
    if (!rows.length) return;
    const place = rows.indexOf(row);
    row = rows[place < 0 ? (by > 0 ? 0 : rows.length - 1) : (place + by + rows.length) % rows.length];
    row.tabIndex = -1;
    unfold(row);
    row.scrollIntoView({ block: "center" });
    row.focus({ preventScroll: true });
  };
  const ACTIONS = {
    "/": () => { go(checks); query.focus(); },
    n: () => attention(1),
    p: () => attention(-1),
    j: () => step(1),
    k: () => step(-1),
    "?": () => dialog.showModal(),
  };
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target === query && query.value) {
      event.preventDefault();
      tools.reset();
    }
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || !enabled.checked) return;
    if (event.target.closest("input, select, textarea")) return;
    const action = ACTIONS[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  const help = document.getElementById("keys-button");
  help.addEventListener("click", () => dialog.showModal());
  help.hidden = false;
})();
