"use strict";
// Data come as scripts, which a page on disk may load; each calls HistoScribe.receive.

const HistoScribe = {};

(() => {
  const TYPES = {
    uint8: Uint8Array, uint16: Uint16Array, int16: Int16Array, uint32: Uint32Array,
    float32: Float32Array,
  };
  const awaited = new Map();

  async function unpacked(text) {
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  function arrayOf(buffer, { type, offset, bytes }) {
    if (type === "text") {
      return new TextDecoder().decode(new Uint8Array(buffer, offset, bytes)).split("\n");
    }
    const Kind = TYPES[type];
    return new Kind(buffer, offset, bytes / Kind.BYTES_PER_ELEMENT);
  }

  HistoScribe.receive = (name, facts, text) => {
    const waiting = awaited.get(name);
    if (waiting) waiting.resolve({ facts, text });
  };

  async function fetched(file, name) {
    const script = document.createElement("script");
    const arrived = new Promise((resolve, reject) => {
      awaited.set(name, { resolve });
      script.onerror = () => reject(new Error(`${file} is missing beside index.html`));
    });
    script.src = file;
    document.head.append(script);
    const { facts, text } = await arrived;
    script.remove();
    awaited.delete(name);
    const buffer = await unpacked(text);
    const data = { ...facts };
    for (const [key, place] of Object.entries(facts.arrays)) data[key] = arrayOf(buffer, place);
    return data;
  }

  // What was loaded stays: 100,000 units take 0.4 MB a gene.
  const loaded = new Map();

  HistoScribe.load = (file, name) => {
    if (!loaded.has(name)) {
      const promise = fetched(file, name);
      promise.catch(() => loaded.delete(name));
      loaded.set(name, promise);
    }
    return loaded.get(name);
  };

  HistoScribe.loadGene = (number) => HistoScribe.load(`data/genes/${number}.js`, `gene/${number}`);
})();
