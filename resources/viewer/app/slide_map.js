"use strict";
// The H&E (OpenSeadragon) and the units over it (deck.gl), kept in step. Units are placed in um of
// the image: x right, y down, from its top left corner.

(() => {
  const MAX_OUTLINES = 4000; // drawn one by one; beyond, units are discs
  const PX_PER_UM_MAX = 24;
  const LEGEND_PX = 264; // at the left, with its margins
  const START_MARGIN = 1.08;

  const ALL_CORNERS = 500_000; // shared by all discs: six corners each, or up to 32

  class SlideMap {
    constructor(section, units) {
      this.section = section;
      this.units = units;
      this.nUnits = section.nUnits;
      const { width_px: width, height_px: height, um_per_px: umPerPx } = section.image;
      this.widthUm = width * umPerPx;
      this.heightUm = height * umPerPx;
      this.sizeUm = section.unitSizeUm;
      this.rgba = new Uint8ClampedArray(4 * this.nUnits);
      this.selected = -1;
      this.outlined = null;
      this.onDraw = () => {};
      this.onMove = () => {};
      this.onPick = () => {};
      this._openSlide(width, height, umPerPx);
      this._openUnits();
    }

    _openSlide(width, height, umPerPx) {
      const { tile_px: tileSize, max_level: maxLevel } = this.section.image;
      this.slide = OpenSeadragon({
        element: document.getElementById("slide"),
        drawer: "canvas", // a page on disk may draw its pictures, but WebGL may not read them
        showNavigationControl: false,
        showNavigator: true,
        navigatorId: "navigator",
        animationTime: 0.5,
        visibilityRatio: 0.5,
        minZoomImageRatio: 0.7,
        maxZoomPixelRatio: Math.max(2, PX_PER_UM_MAX * umPerPx),
        gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
        gestureSettingsTouch: { clickToZoom: false },
        tileSources: {
          width, height, tileSize, minLevel: 0, maxLevel,
          getTileUrl: (level, x, y) => `tiles/${level}/${x}_${y}.jpg`,
        },
      });
      this.slide.addHandler("update-viewport", () => this._follow());
      this.slide.addHandler("resize", () => this._follow());
      this.slide.addHandler("animation-finish", () => this._settle());
      this.slide.addHandler("open", () => this.home(true));
      this.slide.addHandler("canvas-click", (event) => {
        if (event.quick) this.onPick(this.nearest(this.toUm(event.position)));
      });
    }

    _openUnits() {
      this.deck = new deck.Deck({
        parent: document.getElementById("cells"),
        views: new deck.OrthographicView({ id: "section", flipY: true }),
        viewState: this._viewState(),
        controller: false,
        layers: [],
        // Smooth edges cost more than they show.
        deviceProps: { type: "webgl", webgl: { antialias: false } },
        onAfterRender: () => this.onDraw(),
        onError: (error) => console.error(error),
      });
    }

    // Pixels of the screen per um, and the um in the middle of the screen.
    _view() {
      const bounds = this.slide.viewport ? this.slide.viewport.getBounds(true) : null;
      if (!bounds) return { pxPerUm: 1, x: 0, y: 0 };
      const pxPerUm = this.slide.viewport.getContainerSize().x / (bounds.width * this.widthUm);
      const middle = bounds.getCenter();
      return { pxPerUm, x: middle.x * this.widthUm, y: middle.y * this.widthUm };
    }

    _viewState() {
      const { pxPerUm, x, y } = this._view();
      return { target: [x, y, 0], zoom: Math.log2(pxPerUm), minZoom: -20, maxZoom: 20 };
    }

    _follow() {
      if (!this.deck) return;
      this.deck.setProps({ viewState: this._viewState() });
      this.deck.redraw("the slide moved");
      this.onMove(this._view().pxPerUm);
      this._frameWhatIsSeen();
    }

    // The small map frames what is seen, unless that is all.
    _frameWhatIsSeen() {
      const { navigator, viewport, world } = this.slide;
      if (!navigator || !world.getItemCount()) return;
      const seen = viewport.getBounds();
      const whole = world.getItemAt(0).getBounds();
      const isAll = seen.x <= whole.x && seen.y <= whole.y &&
        seen.x + seen.width >= whole.x + whole.width &&
        seen.y + seen.height >= whole.y + whole.height;
      navigator.displayRegion.style.visibility = isAll ? "hidden" : "visible";
    }

    toUm({ x, y }) {
      const size = this.slide.viewport.getContainerSize();
      const { pxPerUm, x: midX, y: midY } = this._view();
      return [midX + (x - size.x / 2) / pxPerUm, midY + (y - size.y / 2) / pxPerUm];
    }

    // The unit whose centre is nearest to a place in um, -1 where none is near.
    nearest([x, y]) {
      const at = this.units.position;
      const reach = Math.max(this.sizeUm, 6 / this._view().pxPerUm);
      let [best, least] = [-1, reach * reach];
      for (let i = 0; i < this.nUnits; i++) {
        const squared = (at[2 * i] - x) ** 2 + (at[2 * i + 1] - y) ** 2;
        if (squared < least) [best, least] = [i, squared];
      }
      return best;
    }

    home(immediately = false) {
      const at = this.units.position;
      let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
      for (let i = 0; i < this.nUnits; i++) {
        left = Math.min(left, at[2 * i]);
        right = Math.max(right, at[2 * i]);
        top = Math.min(top, at[2 * i + 1]);
        bottom = Math.max(bottom, at[2 * i + 1]);
      }
      const [width, height] = [right - left, bottom - top].map(
        (extent) => START_MARGIN * (extent + this.section.unitSizeUm));
      // Where there is room, nothing lies under the legend.
      const screen = this.slide.viewport.getContainerSize();
      const covered = screen.x > 2.5 * LEGEND_PX ? LEGEND_PX / screen.x : 0;
      const whole = Math.max(width / (1 - covered), (height * screen.x) / screen.y);
      const middle = (left + right - covered * whole) / 2;
      this.fit(middle, (top + bottom) / 2, whole, height, immediately);
    }

    // Bring a rectangle, by its middle and its size in um, into view.
    fit(x, y, width, height, immediately = false) {
      const rect = new OpenSeadragon.Rect(x - width / 2, y - height / 2, width, height);
      this.slide.viewport.fitBounds(rect.times(1 / this.widthUm), immediately);
    }

    zoomBy(factor) {
      this.slide.viewport.zoomBy(factor);
      this.slide.viewport.applyConstraints();
    }

    setSlideOpacity(share) {
      document.querySelector("#slide .openseadragon-canvas").style.opacity = String(share);
    }

    setOpacity(share) {
      document.getElementById("cells").style.opacity = String(share);
    }

    setSize(um) {
      this.sizeUm = um;
      this._settle();
    }

    setColours(rgba) {
      this.rgba = rgba;
      this._settle();
    }

    select(unit) {
      this.selected = unit;
      this._draw();
    }

    setOutlines(outlines) {
      this.outlines = outlines;
      this._settle();
    }

    // At rest: few units in view are drawn by their own outlines.
    _settle() {
      const isTrueSize = this.sizeUm === this.section.unitSizeUm;
      this.outlined = this.outlines && isTrueSize ? this._inView() : null;
      this._draw();
    }

    _inView() {
      const size = this.slide.viewport.getContainerSize();
      const { pxPerUm, x, y } = this._view();
      const [reachX, reachY] = [size.x / pxPerUm, size.y / pxPerUm]; // half a screen more all round
      const at = this.units.position;
      const found = [];
      for (let i = 0; i < this.nUnits; i++) {
        if (Math.abs(at[2 * i] - x) < reachX && Math.abs(at[2 * i + 1] - y) < reachY) found.push(i);
        if (found.length > MAX_OUTLINES) return null;
      }
      return found;
    }

    _ring(unit) {
      const { corners, first } = this.outlines;
      const [x, y] = [this.units.position[2 * unit], this.units.position[2 * unit + 1]];
      const ring = [];
      for (let k = first[unit]; k < first[unit + 1]; k++) {
        ring.push([x + corners[2 * k] * this.outlines.stepUm,
          y + corners[2 * k + 1] * this.outlines.stepUm]);
      }
      return ring;
    }

    _draw() {
      if (!this.deck) return;
      this.deck.setProps({ layers: [this._unitsLayer(), this._selectionLayer()] });
      this.deck.redraw("another picture");
    }

    _unitsLayer() {
      const { SolidPolygonLayer } = deck;
      if (this.outlined) {
        return new SolidPolygonLayer({
          id: "outlines",
          data: this.outlined,
          getPolygon: (unit) => this._ring(unit),
          getFillColor: (unit) => this.rgba.subarray(4 * unit, 4 * unit + 4),
          updateTriggers: { getFillColor: this.rgba },
          parameters: { depthCompare: "always" },
        });
      }
      const n = this.nUnits;
      if (this.shapesFor !== this.sizeUm) this._shape();
      const k = this.nCorners;
      // One colour a corner, four bytes each: copied as whole numbers.
      const perUnit = new Uint32Array(this.rgba.buffer);
      const perCorner = new Uint32Array(n * k);
      for (let i = 0; i < n; i++) perCorner.fill(perUnit[i], i * k, (i + 1) * k);
      return new SolidPolygonLayer({
        id: "units",
        data: {
          length: n,
          startIndices: this.starts,
          attributes: {
            getPolygon: { value: this.corners, size: 2 },
            indices: { value: this.triangles, size: 1 },
            getFillColor: {
              value: new Uint8ClampedArray(perCorner.buffer), size: 4, normalized: true,
            },
          },
        },
        _normalize: false,
        parameters: { depthCompare: "always" },
      });
    }

    // Every unit as a polygon of its own. Instances of one would be less work for a graphics card,
    // but take seconds where a processor draws, as on remote desktops.
    _shape() {
      const n = this.nUnits;
      const k = this.section.isRound
        ? Math.max(6, Math.min(32, Math.floor(ALL_CORNERS / n)))
        : 4;
      const radius = this.section.isRound ? this.sizeUm / 2 : this.sizeUm * Math.SQRT1_2;
      const turn = ((this.section.isRound ? 0 : 45 + this.section.gridAngle) * Math.PI) / 180;
      const ring = Array.from({ length: k }, (_, c) => {
        const angle = turn + (2 * Math.PI * c) / k;
        return [radius * Math.cos(angle), radius * Math.sin(angle)];
      });
      this.nCorners = k;
      this.shapesFor = this.sizeUm;
      this.starts = Uint32Array.from({ length: n + 1 }, (_, i) => i * k);
      this.corners = new Float32Array(2 * n * k);
      this.triangles = new Uint32Array(3 * n * (k - 2));
      const at = this.units.position;
      let [corner, triangle] = [0, 0];
      for (let i = 0; i < n; i++) {
        for (const [dx, dy] of ring) {
          this.corners[corner++] = at[2 * i] + dx;
          this.corners[corner++] = at[2 * i + 1] + dy;
        }
        for (let c = 1; c < k - 1; c++) {
          this.triangles[triangle++] = i * k;
          this.triangles[triangle++] = i * k + c;
          this.triangles[triangle++] = i * k + c + 1;
        }
      }
    }

    _selectionLayer() {
      const at = this.units.position;
      const chosen = this.selected < 0 ? [] : [this.selected];
      return new deck.ScatterplotLayer({
        id: "selection",
        data: chosen,
        getPosition: (unit) => [at[2 * unit], at[2 * unit + 1]],
        getRadius: Math.max(this.sizeUm, this.section.unitSizeUm) * 0.75,
        radiusUnits: "common", radiusMinPixels: 6, filled: false, stroked: true,
        getLineColor: [255, 0, 170], lineWidthUnits: "pixels", getLineWidth: 2.5,
        parameters: { depthCompare: "always" },
      });
    }
  }

  HistoScribe.SlideMap = SlideMap;
})();
