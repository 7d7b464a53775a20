"use strict";
// The page's own script: the table of genes, copying, enlarging figures. It needs no network.
(() => {
  const byId = (id) => document.getElementById(id);

  // Words that vanish again, read aloud by screen readers.
  let silence;
  const say = (words) => {
    const said = byId("said");
    said.textContent = words;
    said.classList.add("shown");
    clearTimeout(silence);
    silence = setTimeout(() => said.classList.remove("shown"), 1800);
  };

  // Pages opened from disk may not use the clipboard in every browser; a selected text field can.
  const copyBySelection = (text) => {
    const field = document.createElement("textarea");
    field.value = text;
    field.style.position = "fixed";
    field.style.opacity = "0";
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  };
  const copy = async (text, words) => {
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch {
      done = copyBySelection(text);
    }
    say(done ? words : "Could not copy: select the text instead");
  };
  const textOf = (element) => {
    const paragraphs = [...element.querySelectorAll("p, li")].map((p) => p.textContent);
    return paragraphs.length ? paragraphs.join("\n\n") : element.textContent;
  };
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", () => copy(textOf(byId(button.dataset.copies)), "Copied"));
  }

  // Figures.
  const dialog = byId("enlarged");
  const imageFrame = () => byId("enlarged-image").parentElement;
  for (const button of document.querySelectorAll(".enlarge")) {
    button.addEventListener("click", () => {
      const image = button.querySelector("img");
      byId("enlarged-image").src = image.src;
      byId("enlarged-image").alt = image.alt;
      byId("enlarged-title").textContent = button.dataset.title;
      imageFrame().classList.remove("whole");
      dialog.showModal();
      dialog.scrollTo(0, 0);
    });
  }
  // The figure fits the window; a click shows it at its full size, and back.
  byId("enlarged-image").addEventListener("click", () => imageFrame().classList.toggle("whole"));

  // Where the reader is.
  const links = new Map(
    [...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]),
  );
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const link = links.get(entry.target.id);
        if (entry.isIntersecting && link) {
          for (const other of links.values()) other.removeAttribute("class");
          link.className = "here";
        }
      }
    },
    { rootMargin: "-10% 0px -75% 0px" },
  );
  for (const id of links.keys()) if (byId(id)) seen.observe(byId(id));

  // What is folded away is printed too, but for long listings.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")].filter(
      (details) => !details.querySelector("pre, .files"),
    );
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of closed) details.open = false;
  });

  // Genes.
  const source = byId("gene-data");
  if (!source) return;
  const views = JSON.parse(source.textContent);
  const table = byId("gene-table");
  const STEP = 50;
  const state = { view: views[0], key: "pcc", down: true, shown: STEP, rows: [] };
  const position = (key) => state.view.columns.findIndex((column) => column.key === key);

  const words = (value, digits) => {
    if (value === null) return "–";
    if (digits === null) return value;
    return value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1").replace("-", "−");
  };
  const byName = new Intl.Collator("en", { numeric: true });
  const order = (a, b) => {
    const values = state.view.values[position(state.key)];
    const [x, y] = [values[a], values[b]];
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    const difference = typeof x === "string" ? byName.compare(x, y) : x - y;
    return (state.down ? -difference : difference) || a - b;
  };
  const isSought = () => {
    const parts = byId("gene-search").value.toLowerCase().split(/[\s,;]+/).filter(Boolean);
    const boxes = [...document.querySelectorAll('input[name="grade"]')];
    const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const all = wanted.size === boxes.length;
    const names = state.view.values[position("gene")];
    const grades = state.view.values[position("trust")];
    return (row) =>
      (!parts.length || parts.some((part) => names[row].toLowerCase().includes(part))) &&
      (all || !grades || wanted.has(grades[row]));
  };

  const drawHead = () => {
    const head = document.createElement("tr");
    for (const column of state.view.columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      if (column.digits !== null) cell.className = "n";
      if (column.key === state.key) cell.ariaSort = state.down ? "descending" : "ascending";
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = column.heading;
      button.title = column.meaning;
      cell.dataset.heading = column.heading; // buttons are not printed again on each page
      button.addEventListener("click", () => {
        const textual = column.digits === null;
        state.down = column.key === state.key ? !state.down : !textual;
        state.key = column.key;
        draw();
        table.tHead.querySelector("[aria-sort] button").focus();
      });
      cell.append(button);
      head.append(cell);
    }
    table.tHead.replaceChildren(head);
  };
  const reach = (pcc, ceiling) => {
    const bar = document.createElement("span");
    bar.className = "reach";
    bar.ariaHidden = "true";
    const filled = document.createElement("i");
    filled.style.width = `${100 * Math.min(Math.max(pcc ?? 0, 0), 1)}%`;
    bar.append(filled);
    if (ceiling !== null && ceiling !== undefined) {
      const tick = document.createElement("u");
      tick.style.left = `${100 * Math.min(Math.max(ceiling, 0), 1)}%`;
      bar.append(tick);
    }
    return bar;
  };
  const drawRow = (row) => {
    const line = document.createElement("tr");
    state.view.columns.forEach((column, i) => {
      const value = state.view.values[i][row];
      const cell = document.createElement(column.key === "gene" ? "th" : "td");
      if (column.key === "gene") cell.scope = "row";
      if (column.digits !== null) cell.className = "n";
      if (column.key === "trust" && value !== null) {
        const grade = document.createElement("span");
        grade.className = `grade grade-${value}`;
        grade.textContent = value;
        cell.append(grade);
      } else {
        if (column.key === "pcc") {
          cell.append(reach(value, state.view.values[position("ceiling")]?.[row]));
        }
        cell.append(words(value, column.digits));
      }
      line.append(cell);
    });
    return line;
  };
  const count = (n) => n.toLocaleString("en");
  const offerMore = () => {
    const left = state.rows.length - state.shown;
    byId("gene-more").hidden = left <= 0;
    byId("gene-more").textContent = `Show ${count(Math.min(left, 10 * STEP))} more`;
  };
  const draw = () => {
    const n = state.view.values[0].length;
    state.rows = [...Array(n).keys()].filter(isSought()).sort(order);
    drawHead();
    table.tBodies[0].replaceChildren(...state.rows.slice(0, state.shown).map(drawRow));
    const all = state.rows.length === n;
    byId("gene-count").textContent =
      `${all ? "" : `${count(state.rows.length)} of `}${count(n)} gene${n === 1 ? "" : "s"}, ` +
      `${state.view.note}; bar: PCC, tick: ceiling`;
    offerMore();
  };
  const redraw = () => {
    state.shown = STEP;
    draw();
  };

  byId("gene-form").addEventListener("submit", (event) => event.preventDefault());
  byId("gene-search").addEventListener("input", redraw);
  for (const box of document.querySelectorAll('input[name="grade"]')) {
    box.addEventListener("change", redraw);
  }
  byId("gene-view").addEventListener("change", (event) => {
    state.view = views[event.target.value];
    if (position(state.key) < 0) state.key = "pcc";
    redraw();
  });
  byId("gene-more").addEventListener("click", () => {
    const more = state.rows.slice(state.shown, state.shown + 10 * STEP);
    state.shown += 10 * STEP;
    table.tBodies[0].append(...more.map(drawRow));
    offerMore();
  });
  byId("gene-copy").addEventListener("click", () => {
    const names = state.view.values[position("gene")];
    copy(state.rows.map((row) => names[row]).join("\n"), `Copied ${count(state.rows.length)} names`);
  });
  byId("gene-save").addEventListener("click", () => {
    const lines = [state.view.columns.map((column) => column.key)];
    for (const row of state.rows) lines.push(state.view.values.map((of) => of[row] ?? ""));
    const text = lines.map((line) => line.join("\t")).join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/tab-separated-values" }));
    link.download = "genes.tsv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  draw();
})();
