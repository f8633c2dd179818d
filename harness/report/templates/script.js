(() => {
  "use strict";
  const section = document.getElementById("checks");
  const reveal = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (!target) return;
    for (let node = target.parentElement; node; node = node.parentElement)
      if (node.tagName === "DETAILS") node.open = true;
    target.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", reveal);
  reveal();

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details[data-print]:not([open])")];
    folded.forEach((fold) => { fold.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((fold) => { fold.open = false; }));

  const tables = section ? [...section.querySelectorAll("table.checks")] : [];
  if (!tables.length) return;

  const rows = tables.flatMap((table) => [...table.tBodies[0].rows]);
  const tools = document.getElementById("check-tools");
  const query = tools.querySelector("input");
  const state = tools.querySelector("select");
  const shown = tools.querySelector("output");
  const folds = [...section.querySelectorAll("details[data-fold]")];
  const first = new Map(folds.map((fold) => [fold, fold.open]));
  let texts = null;
  const apply = () => {
    texts = texts || new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = state.value;
    let count = 0;
    for (const row of rows) {
      const text = texts.get(row);
      const hit = (!wanted || row.classList.contains(wanted)) && words.every((word) => text.includes(word));
      row.hidden = !hit;
      count += hit;
    }
    const active = Boolean(words.length || wanted);
    for (const fold of folds) {
      const any = [...fold.querySelectorAll("tbody tr")].some((row) => !row.hidden);
      fold.hidden = active && !any;
      fold.open = active ? any : first.get(fold);
    }
    shown.textContent = active ? `${count} of ${rows.length} checks shown` : "";
  };
  let timer = 0;
  query.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(apply, 120); });
  state.addEventListener("change", apply);
  tools.hidden = false;

  const key = (row, column) => {
    const cell = row.cells[column];
    const value = cell.dataset.sort;
    return value === undefined ? cell.textContent.trim() : Number(value);
  };
  for (const table of tables) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const sign = down ? -1 : 1;
        const order = [...table.tBodies[0].rows].map((row) => [key(row, column), row]);
        order.sort(([a], [b]) => sign * (typeof a === "number" && typeof b === "number"
          ? a - b : String(a).localeCompare(String(b), "en", { numeric: true })));
        table.tBodies[0].append(...order.map(([, row]) => row));
      });
    });
  }
})();
