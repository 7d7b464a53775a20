"use strict";
// Colours of values: viridis for expression, cividis for doubt, blue to red about zero.

(() => {
  const ANCHORS = {
    viridis: "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1fa088 28ae80 3fbc73" +
      " 5ec962 84d44b addc30 d8e219 fde725",
    cividis: "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8c8878 9b9476 aba072" +
      " bcae6c cdbb63 dec958 f0d846 fee838",
    diverging: "0a3f79 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 7a0421",
  };
  const FAINTEST = 0.08; // of a value of 0: units can be made out
  const ABSENT = [140, 140, 140, 0];

  const rgb = (hex) => [0, 2, 4].map((at) => parseInt(hex.replace("#", "").slice(at, at + 2), 16));

  function table(name) {
    const anchors = ANCHORS[name].split(" ").map(rgb);
    return Array.from({ length: 256 }, (_, i) => {
      const at = (i / 255) * (anchors.length - 1);
      const low = Math.min(Math.floor(at), anchors.length - 2);
      return anchors[low].map((c, k) => Math.round(c + (anchors[low + 1][k] - c) * (at - low)));
    });
  }
  const TABLES = Object.fromEntries(Object.keys(ANCHORS).map((name) => [name, table(name)]));

  // How much of a colour covers the H&E: `fades` from 0, which is in the middle of diverging maps.
  function alphas(name, fades) {
    return Array.from({ length: 256 }, (_, i) => {
      const share = name === "diverging" ? Math.abs(i / 127.5 - 1) : i / 255;
      return fades ? Math.round(255 * Math.min(1, FAINTEST + 1.5 * share)) : 255;
    });
  }

  // Values of low to high as RGBA bytes, one unit after the other.
  function ofValues({ values, low, high, map, fades }) {
    const colours = TABLES[map];
    const covers = alphas(map, fades);
    const rgba = new Uint8ClampedArray(4 * values.length);
    const scale = 255 / (high - low);
    for (let i = 0; i < values.length; i++) {
      const step = Math.max(0, Math.min(255, Math.round((values[i] - low) * scale)));
      rgba.set(colours[step], 4 * i);
      rgba[4 * i + 3] = covers[step];
    }
    return rgba;
  }

  // `chosen` is a set of codes that stand out, or null for all.
  function ofCodes(codes, categories, chosen) {
    const colours = categories.map(({ colour }, code) => {
      const alpha = !chosen || chosen.has(code) ? 255 : 24;
      return [...rgb(colour), alpha];
    });
    const rgba = new Uint8ClampedArray(4 * codes.length);
    for (let i = 0; i < codes.length; i++) rgba.set(colours[codes[i]] || ABSENT, 4 * i);
    return rgba;
  }

  function bar(canvas, { map, fades }) {
    const covers = alphas(map, fades);
    canvas.width = 256;
    canvas.height = 1;
    const context = canvas.getContext("2d");
    TABLES[map].forEach((colour, i) => {
      context.fillStyle = `rgba(${colour.join(",")},${covers[i] / 255})`;
      context.fillRect(i, 0, 1, 1);
    });
  }

  HistoScribe.colours = { ofValues, ofCodes, bar };
})();
