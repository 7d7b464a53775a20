"use strict";
// The list of genes, best predicted first: searched, clicked, or walked through by arrow keys.

(() => {
  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const TRUST = {
    A: "A: at least 0.7 of the best PCC that these counts allow, and sure",
    B: "B: at least half of it",
    C: "C: better than a constant, no more",
    D: "D: not shown to be better than a constant",
  };

  class GeneList {
    constructor(section, onChoose) {
      this.genes = section.genes;
      this.onChoose = onChoose;
      this.list = document.getElementById("gene-list");
      this.search = document.getElementById("search");
      this.rows = this.genes.map((gene, number) => this._row(gene, number));
      this.list.append(...this.rows);
      this.chosen = -1;
      this.search.addEventListener("input", () => this._filter());
      for (const listener of [this.search, this.list]) {
        listener.addEventListener("keydown", (event) => this._key(event));
      }
      this.list.tabIndex = 0;
      this._explain(section);
    }

    _row({ name, pcc, trust, ceiling }, number) {
      const row = element("li", "row");
      row.id = `gene-${number}`;
      row.setAttribute("role", "option");
      const score = element("span", "pcc", pcc === null ? "–" : pcc.toFixed(2));
      const meter = element("span", "meter");
      const filled = element("span");
      filled.style.width = `${Math.max(0, Math.min(1, pcc || 0)) * 100}%`;
      meter.append(filled);
      score.prepend(meter);
      const grade = element("span", `trust trust-${trust || "none"}`, trust || "–");
      row.append(element("span", "name", name), score, grade);
      const most = ceiling === null ? "" : `, at most ${ceiling.toFixed(2)} by these counts`;
      row.title = `${name}: PCC ${score.textContent}${most}. ${TRUST[trust] || "No grade"}`;
      row.addEventListener("click", () => this.choose(number));
      return row;
    }

    _explain(section) {
      const where = section.pccIsOfThisSection
        ? "correlation of predicted with measured values on this section"
        : "correlation on training tissue that the model had not seen";
      document.getElementById("pcc-head").title = `PCC: ${where}`;
      document.getElementById("trust-head").title = Object.values(TRUST).join("\n");
      const n = this.genes.length;
      this.leftOut = section.genesLeftOut.map((name) => name.toLowerCase());
      const left = this.leftOut.length;
      const words = left
        ? `The best ${n} of ${n + left} predicted genes; viewer.n_genes in the config sets how many.`
        : `All ${n} predicted genes, best first.`;
      document.getElementById("gene-note").textContent = `${words} PCC: ${where}.`;
    }

    _filter() {
      const wanted = this.search.value.trim().toLowerCase();
      this.genes.forEach(({ name }, i) => {
        this.rows[i].hidden = !name.toLowerCase().includes(wanted);
      });
      const exact = this.genes.findIndex(({ name }) => name.toLowerCase() === wanted);
      if (exact >= 0) this.choose(exact);
      const note = document.getElementById("search-note");
      note.hidden = this.rows.some((row) => !row.hidden);
      const predicted = this.leftOut.includes(wanted);
      note.textContent = predicted
        ? "This gene was predicted, but is not among those that this viewer holds."
        : "No gene of this name was predicted.";
    }

    _key(event) {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step && event.key !== "Enter") return;
      event.preventDefault();
      const shown = this.rows.flatMap((row, number) => (row.hidden ? [] : [number]));
      const at = shown.indexOf(this.chosen);
      const next = step && at >= 0 ? shown[at + step] : shown[step && at >= 0 ? at : 0];
      if (next !== undefined) this.choose(next);
    }

    choose(number) {
      this.mark(number);
      this.onChoose(number);
    }

    mark(number) {
      if (this.chosen >= 0) this.rows[this.chosen].setAttribute("aria-selected", "false");
      this.chosen = number;
      if (number < 0) return;
      this.rows[number].setAttribute("aria-selected", "true");
      this.search.setAttribute("aria-activedescendant", this.rows[number].id);
      this.list.setAttribute("aria-activedescendant", this.rows[number].id);
      this.rows[number].scrollIntoView({ block: "nearest" });
    }
  }

  HistoScribe.element = element;
  HistoScribe.GeneList = GeneList;
})();
