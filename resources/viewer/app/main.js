"use strict";
// What is chosen, what follows from it, and the address that brings it back:
// index.html#gene=UMOD&show=predicted or index.html#colour=type_predicted; with
// &x=900&y=600&width=200 also the place: its middle and its width in um.

(() => {
  const { panels, colours } = HistoScribe;
  const { byId, choices, counted, rounded } = panels;

  const KINDS = [
    { key: "measured", title: "Measured", hint: "What was counted in the experiment" },
    { key: "predicted", title: "Predicted", hint: "What the model reads from the H&E alone" },
    { key: "difference", title: "Difference", hint: "Predicted minus measured" },
    { key: "width", title: "Uncertainty", hint: "How wide the interval of the prediction is" },
    { key: "probability", title: "Probability", hint: "That the gene is expressed at all" },
  ];
  const TABS = { genes: "Genes", types: "Cell types", quality: "Quality" };
  const FADING = ["viridis", "diverging"];
  const VALUES = "log1p of the counts, scaled to a common total";

  const state = { colour: "gene", gene: 0, kind: "predicted", unit: -1, alone: null };
  let section, units, map, genes, gene, press, turn = 0;

  const fieldOf = (key) => units.fields.find((field) => field.key === key);
  const tabOf = (key) => (key === "gene" ? "genes" : fieldOf(key).categories ? "types" : "quality");
  const valueOf = (data, kind, unit) => (data[kind][unit] * data.high[kind]) / 255;

  // The values of the chosen gene that are coloured, and the range and map of their colours.
  function geneScale() {
    const { kind } = state;
    const name = section.genes[state.gene].name;
    const n = section.nUnits;
    const values = new Float32Array(n);
    if (kind === "difference") {
      for (let i = 0; i < n; i++) {
        values[i] = valueOf(gene, "predicted", i) - valueOf(gene, "measured", i);
      }
      const cut = gene.cut.difference;
      return { values, low: -cut, high: cut, map: "diverging", isCut: true,
        title: `${name}, predicted − measured`, unit: VALUES,
        notes: ["Red: predicted higher than measured. Blue: lower."] };
    }
    const step = gene.high[kind] / 255;
    for (let i = 0; i < n; i++) values[i] = gene[kind][i] * step;
    if (kind === "probability") {
      return { values, low: 0, high: 1, map: "cividis", title: `${name}, probability`,
        unit: "probability that the gene is expressed", notes: [] };
    }
    if (kind === "width") {
      return { values, low: 0, high: gene.cut.width, map: "cividis", isCut: true,
        title: `${name}, uncertainty`, unit: `width of the prediction interval, ${VALUES}`,
        notes: ["Width 0: nearly all cells that look like these measure 0."] };
    }
    const isShared = section.isMeasured && byId("shared").checked;
    const high = isShared ? Math.max(gene.cut.measured, gene.cut.predicted) : gene.cut[kind];
    return { values, low: 0, high, map: "viridis", isCut: true, title: `${name}, ${kind}`,
      unit: VALUES, notes: [isShared ? "Same range for measured and predicted." : ""] };
  }

  function fieldScale(field) {
    const step = field.high / 255;
    const values = Float32Array.from(units[field.key], (byte) => byte * step);
    const notes = [];
    if (field.flagged) {
      notes.push(`${(100 * field.flagged.share).toFixed(1)} % of units are stranger than 99 % of ` +
        "the training units: do not trust predictions there.");
    }
    return { values, low: 0, high: field.cut, title: field.title, isLog10: field.isLog10, notes,
      isCut: Boolean(field.isLog10), map: field.flagged ? "cividis" : "viridis",
      unit: field.flagged ? "share of training units that look less strange"
        : "molecules per unit" };
  }

  function paint() {
    const field = state.colour === "gene" ? null : fieldOf(state.colour);
    byId("fade-label").hidden = Boolean(field && field.categories);
    if (field && field.categories) {
      map.setColours(colours.ofCodes(units[field.key], field.categories, state.alone));
      panels.showNamesLegend({
        title: field.title, categories: field.categories, without: field.n_without,
        chosen: state.alone,
        onChoose: (code) => {
          state.alone = state.alone && state.alone.has(code) ? null : new Set([code]);
          paint();
        },
      });
    } else {
      const scale = field ? fieldScale(field) : geneScale();
      const canFade = FADING.includes(scale.map);
      scale.fades = canFade && byId("fade").checked;
      byId("fade-label").hidden = !canFade;
      map.setColours(colours.ofValues(scale));
      panels.showScaleLegend(scale);
    }
    byId("headline").textContent = headline(field);
    showUnit();
    document.documentElement.dataset.painted = field ? field.key : `${state.gene}/${state.kind}`;
  }

  function headline(field) {
    const tissue = section.isSimulated ? "simulated tissue" : "a tissue section";
    const whole = `H&E of ${tissue} and ${panels.unitWords(section)} on it, coloured by`;
    const then = `Click a ${section.unit} for its details.`;
    if (field) {
      const said = field.categories
        ? `${field.title.toLowerCase().replace(", ", ", named from ")} expression`
        : field.flagged ? "how unlike the units of training they look"
          : "the molecules counted in each";
      return `${whole} ${said}. ${then}`;
    }
    const name = section.genes[state.gene].name;
    const said = {
      measured: `the expression of ${name} that was measured.`,
      predicted: `the expression of ${name} that the model predicts from the image alone.`,
      difference: `how far the prediction of ${name} is from its measurement.`,
      width: `how uncertain the prediction of ${name} is.`,
      probability: `the predicted probability that ${name} is expressed at all.`,
    };
    return `${whole} ${said[state.kind]} ${then}`;
  }

  // Load what the choice needs, then paint; of choices in quick succession the last one wins.
  async function show(change) {
    Object.assign(state, { alone: null }, change);
    const mine = ++turn;
    for (const tab of ["genes", "fields"]) {
      byId(tab).hidden = (tab === "genes") !== (state.colour === "gene");
    }
    press.tabs(tabOf(state.colour));
    press.kinds(state.kind);
    if (state.colour !== "gene") listFields(tabOf(state.colour));
    else genes.mark(state.gene);
    byId("shared-label").hidden = !(state.colour === "gene" && section.isMeasured &&
      ["measured", "predicted"].includes(state.kind));
    writeAddress();
    try {
      const data = await HistoScribe.loadGene(state.gene);
      if (mine !== turn) return;
      gene = data;
      paint();
    } catch (error) {
      if (mine === turn) panels.showLegendNote("Not shown", error.message);
    }
  }

  function openTab(tab) {
    const first = units.fields.find(({ key }) => tabOf(key) === tab);
    show({ colour: tab === "genes" ? "gene" : first.key });
  }

  function listFields(tab) {
    const fields = units.fields.filter((field) => tabOf(field.key) === tab);
    const options = fields.map(({ key, title }) => ({ key, title }));
    choices(byId("field-list"), options, (key) => show({ colour: key }))(state.colour);
    byId("field-note").textContent = tab === "types"
      ? "Names given to clusters of units by their marker genes."
      : "What to keep in mind when reading the other colours.";
  }

  function showUnit() {
    const unit = state.unit;
    if (unit < 0) return panels.hideDetails();
    const [x, y] = [units.position[2 * unit], units.position[2 * unit + 1]];
    const rows = [["Position", `${x.toFixed(1)}, ${y.toFixed(1)} µm`]];
    for (const field of units.fields) {
      const stored = units[field.key][unit];
      const value = (stored * field.high) / 255;
      if (field.categories) {
        rows.push([field.title, (field.categories[stored] || { name: "–" }).name]);
      } else if (field.isLog10) rows.push([field.title, counted(Math.round(10 ** value - 1))]);
      else {
        const isStrange = field.flagged && units[field.flagged.key][unit];
        const share = `${(100 * value).toFixed(0)} % of training units`;
        rows.push(["Stranger than", `${share}${isStrange ? ": out of domain" : ""}`]);
      }
    }
    const values = KINDS.filter(({ key }) => gene[key]).map(
      ({ key, title }) => [title, valueOf(gene, key, unit).toFixed(2)]);
    const groups = ["predicted", "measured"].flatMap((kind) => {
      const top = units[`top_${kind}`];
      if (!top) return [];
      const per = top.length / section.nUnits;
      const numbers = Array.from(top.subarray(unit * per, (unit + 1) * per));
      const named = numbers.filter((number) => number < section.genes.length);
      return [[`Stands out here, ${kind}`,
        named.map((number) => ({ number, name: section.genes[number].name }))]];
    });
    panels.showDetails({
      id: units.id[unit], rows, groups, values, gene: section.genes[state.gene].name,
      onGene: (number) => show({ colour: "gene", gene: number }),
      onClose: () => choose(-1),
    });
  }

  function choose(unit) {
    state.unit = unit;
    map.select(unit);
    showUnit();
  }

  function writeAddress() {
    const words = new URLSearchParams();
    if (state.colour === "gene") {
      words.set("gene", section.genes[state.gene].name);
      words.set("show", state.kind);
    } else words.set("colour", state.colour);
    history.replaceState(null, "", `#${words}`);
  }

  function readAddress() {
    const words = new URLSearchParams(location.hash.slice(1));
    const change = {};
    const number = section.genes.findIndex(({ name }) => name === words.get("gene"));
    if (number >= 0) Object.assign(change, { gene: number, colour: "gene" });
    if (press.shown.includes(words.get("show"))) change.kind = words.get("show");
    if (fieldOf(words.get("colour"))) change.colour = words.get("colour");
    const at = ["x", "y", "width"].map((key) => Number(words.get(key)));
    if (at.every((value) => value > 0)) map.fit(at[0], at[1], at[2], at[2] / 2, true);
    return change;
  }

  function listen() {
    const shares = { opacity: (share) => map.setOpacity(share),
      "slide-opacity": (share) => map.setSlideOpacity(share) };
    for (const [id, set] of Object.entries(shares)) {
      byId(id).addEventListener("input", (event) => {
        byId(`${id}-share`).textContent = `${event.target.value} %`;
        set(event.target.value / 100);
      });
    }
    byId("size").addEventListener("input", (event) => {
      const um = (section.unitSizeUm * event.target.value) / 100;
      byId("size-um").textContent = `${rounded(um)} µm`;
      map.setSize(um);
    });
    for (const id of ["shared", "fade"]) byId(id).addEventListener("change", paint);
    byId("zoom-in").addEventListener("click", () => map.zoomBy(1.5));
    byId("zoom-out").addEventListener("click", () => map.zoomBy(1 / 1.5));
    byId("zoom-home").addEventListener("click", () => map.home());
    addEventListener("hashchange", () => show(readAddress()));
    addEventListener("keydown", (event) => {
      if (event.key === "Escape") choose(-1);
    });
  }

  async function start() {
    section = await HistoScribe.load("data/section.js", "section");
    units = await HistoScribe.load("data/units.js", "units");
    document.title = `${section.sample} – HistoScribe viewer`;
    byId("sample").textContent = section.sample;
    panels.showWarnings(section.warnings);
    map = HistoScribe.map = new HistoScribe.SlideMap(section, units);
    map.onMove = panels.showScale;
    map.onPick = choose;
    genes = new HistoScribe.GeneList(section, (number) => show({ colour: "gene", gene: number }));
    gene = await HistoScribe.loadGene(0);
    const kinds = KINDS.filter(({ key }) => gene[key] || (key === "difference" && gene.measured));
    const tabs = Object.keys(TABS).filter(
      (tab) => tab === "genes" || units.fields.some(({ key }) => tabOf(key) === tab));
    press = {
      shown: kinds.map(({ key }) => key),
      kinds: choices(byId("kinds"), kinds, (kind) => show({ kind })),
      tabs: choices(byId("tabs"), tabs.map((key) => ({ key, title: TABS[key] })), openTab),
    };
    listen();
    for (const id of ["opacity", "slide-opacity", "size"]) {
      byId(id).dispatchEvent(new Event("input"));
    }
    if (map.slide.isOpen()) await show(readAddress());
    else map.slide.addOnceHandler("open", () => show(readAddress()));
    if (section.hasOutlines) {
      map.setOutlines(await HistoScribe.load("data/outlines.js", "outlines"));
    }
  }

  start().catch((error) => {
    byId("headline").textContent = `The viewer could not start: ${error.message}`;
    console.error(error);
  });
})();
