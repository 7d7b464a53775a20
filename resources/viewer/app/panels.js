"use strict";
// What stands around the map: words, warnings, legend, scale bar, and a unit's details.

(() => {
  const { element, colours } = HistoScribe;
  const byId = (id) => document.getElementById(id);
  const PLURALS = { nucleus: "nuclei" };
  const BAR_PX = 110; // the scale bar is no longer than this

  const counted = (n) => n.toLocaleString("en-US");
  const rounded = (value) => (value === 0 ? "0" : value.toPrecision(2).replace(/\.?0+$/, ""));
  const shortened = (value) => {
    const text = value >= 10 ? value.toFixed(0) : value.toFixed(value >= 1 ? 1 : 2);
    return Number(text) === 0 && value > 0 ? rounded(value) : text;
  };

  function unitWords(section) {
    const plural = PLURALS[section.unit] || `${section.unit}s`;
    const size = section.isRound ? "" : ` of ${rounded(section.unitSizeUm)} µm`;
    return `${counted(section.nUnits)} ${plural}${size}`;
  }

  function showWarnings(warnings) {
    byId("warnings").replaceChildren(
      ...warnings.map(({ title, text }) => {
        const warning = element("p", "warning");
        warning.append(element("strong", "", `⚠ ${title}.`), ` ${text}`);
        return warning;
      }),
    );
  }

  function showScale(pxPerUm) {
    const most = BAR_PX / pxPerUm;
    const power = 10 ** Math.floor(Math.log10(most));
    const um = [5, 2, 1].map((f) => f * power).find((length) => length <= most);
    byId("scale-bar").style.width = `${um * pxPerUm}px`;
    byId("scale-text").textContent = um >= 1000 ? `${um / 1000} mm` : `${um} µm`;
  }

  // `scale` has title, unit, map, fades, low, high, and notes; `isLog10` says
  // that values are log10(1 + n).
  function showScaleLegend(scale) {
    const { title, unit, low, high, notes, isLog10, isCut } = scale;
    const bar = element("canvas", "bar");
    colours.bar(bar, scale);
    const ticks = element("div", "ticks");
    const middle = (low + high) / 2;
    for (const value of [low, middle, high]) {
      const said = isLog10 ? counted(Math.round(10 ** value - 1)) : shortened(Math.abs(value));
      const sign = value < 0 ? "−" : low < 0 && value > 0 ? "+" : "";
      const isLast = isCut && value === high;
      const isFirst = isCut && low < 0 && value === low;
      const beyond = isLast ? "≥ " : isFirst ? "≤ " : "";
      ticks.append(element("span", "", `${beyond}${sign}${said}`));
    }
    const lines = notes.filter(Boolean).map((note) => element("p", "note", note));
    const how = isLog10 ? `${unit || ""} (logarithmic)`.trim() : unit;
    byId("legend").replaceChildren(element("h2", "", title), bar, ticks,
      element("p", "unit", how), ...lines);
  }

  // Names with their colours; a click shows one of them alone.
  function showNamesLegend({ title, categories, without, chosen, onChoose }) {
    const list = element("ul", "names");
    categories.forEach(({ name, colour, n_units: n, isDoubtful }, code) => {
      const row = element("button", "name-row");
      row.type = "button";
      row.setAttribute("aria-pressed", String(Boolean(chosen && chosen.has(code))));
      const swatch = element("span", "swatch");
      swatch.style.background = colour;
      const said = isDoubtful ? `${name} ?` : name;
      row.append(swatch, element("span", "name", said), element("span", "count", counted(n)));
      row.addEventListener("click", () => onChoose(code));
      const item = element("li");
      item.append(row);
      list.append(item);
    });
    const notes = [];
    const remark = (text) => notes.push(element("p", "note", text));
    if (without) remark(`${counted(without)} without a name are not drawn.`);
    if (categories.some(({ isDoubtful }) => isDoubtful)) {
      remark("?: another type fits some of these cells about as well.");
    }
    remark(chosen ? "Click it again to show all." : "Click one to see it alone.");
    byId("legend").replaceChildren(element("h2", "", title), list, ...notes);
  }

  function showLegendNote(title, text) {
    byId("legend").replaceChildren(element("h2", "", title), element("p", "note", text));
  }

  function pairs(rows) {
    const list = element("dl");
    for (const [name, value, className] of rows) {
      list.append(element("dt", "", name), element("dd", className || "", value));
    }
    return list;
  }

  // `rows` and the gene's `values` are [name, value]; `groups` are [title, genes to choose].
  function showDetails({ id, rows, gene, values, groups, onGene, onClose }) {
    const close = element("button", "close", "×");
    close.type = "button";
    close.title = "Close";
    close.addEventListener("click", onClose);
    const parts = [close, element("h2", "", id), pairs(rows),
      element("h3", "gene-name", gene), pairs(values)];
    for (const [title, genes] of groups) {
      parts.push(element("h3", "", title));
      const list = element("div", "top");
      for (const { name, number } of genes) {
        const button = element("button", "gene", name);
        button.type = "button";
        button.addEventListener("click", () => onGene(number));
        list.append(button);
      }
      if (!genes.length) list.append(element("span", "note", "none"));
      parts.push(list);
    }
    const card = byId("details");
    card.replaceChildren(...parts);
    card.hidden = false;
  }

  function hideDetails() {
    byId("details").hidden = true;
  }

  // A row of buttons of which one is pressed; returns a function that presses one.
  function choices(container, options, onChoose) {
    const buttons = options.map(({ key, title, hint }) => {
      const button = element("button", "", title);
      button.type = "button";
      button.dataset.key = key;
      button.setAttribute("role", container.getAttribute("role") === "tablist" ? "tab" : "radio");
      if (hint) button.title = hint;
      button.addEventListener("click", () => onChoose(key));
      return button;
    });
    container.replaceChildren(...buttons);
    const state = container.getAttribute("role") === "tablist" ? "aria-selected" : "aria-checked";
    return (key) => {
      for (const button of buttons) button.setAttribute(state, String(button.dataset.key === key));
    };
  }

  HistoScribe.panels = {
    byId, unitWords, counted, rounded, showWarnings, showScale, showScaleLegend,
    showNamesLegend, showLegendNote, showDetails, hideDetails, choices,
  };
})();
