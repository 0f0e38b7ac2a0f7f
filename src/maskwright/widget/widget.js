// The page of a widget: shows what the kernel holds and asks it for changes. Nothing is decided here.
//
// Downwards come traits (_state, _picture, _masks), upwards go numbered requests (Kernel.ask), each of which is
// answered or given up after `patience` seconds. All coordinates are pixels of the original picture.

const KEYS = [
  ["click, drag", "point at the object, draw a box around it"],
  ["right click, Shift+click", "point beside it: takes that away"],
  ["Alt+click on a mark", "take that click or box back"],
  ["arrows, Enter, Shift+Enter", "move the cross, click there, click beside"],
  ["N", "new object"],
  ["1 ... 9, [ and ]", "choose an object"],
  ["F2, Delete", "rename or delete the chosen object"],
  ["X", "clear its clicks and box in this picture"],
  ["Ctrl+Z or Z, Ctrl+Y or Y", "undo, redo"],
  ["wheel, + and -, 0", "zoom in and out, all of the picture"],
  ["Space+drag, middle button", "move the picture"],
  ["P, M", "masks under the pointer, all masks: on or off"],
  ["?", "these keys"],
];
const FILM_KEYS = [
  ["comma and full stop", "frame before, frame after"],
  ["T, Esc", "track objects through the film, stop"],
  ["K", "play or pause"],
];
const DRAG = 5; // screen pixels that make a box of a click
const NEAR = 11; // screen pixels within which a mark is meant

export default { render };

function render({ model, el }) {
  const view = new View(model, el);
  return () => view.close();
}

// A DOM element: h("button", {class: "x", onclick: f}, "text", child)
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-")) element.setAttribute(name, value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

const rgb = ([r, g, b], alpha = 1) => `rgba(${r}, ${g}, ${b}, ${alpha})`;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const decoded = (bytes, type) => createImageBitmap(new Blob([bytes], { type }));

// Does one thing at a time; of what is asked meanwhile only the latest is done.
class Latest {
  constructor(work) {
    this.work = work;
  }
  async ask(what) {
    this.next = { what };
    if (this.busy) return;
    this.busy = true;
    while (this.next) {
      const { what: now } = this.next;
      this.next = null;
      await this.work(now).catch(() => {});
    }
    this.busy = false;
  }
  drop() {
    this.next = null;
  }
}

// Requests to Python and their replies.
class Kernel {
  constructor(model, { busy, silent, failed }) {
    Object.assign(this, { model, busy, silent, failed });
    this.view = Math.random().toString(36).slice(2);
    this.count = 0;
    this.open = new Map();
    this.heard = (content, buffers) => this.hear(content, buffers ?? []);
    model.on("msg:custom", this.heard);
  }
  ask(kind, what = {}) {
    const request = ++this.count;
    return new Promise((resolve, reject) => {
      const patience = 1000 * (this.model.get("patience") ?? 20);
      const timer = setTimeout(() => this.settle(request, null, true), patience);
      this.open.set(request, { resolve, reject, timer, quiet: kind === "preview" || kind === "window" });
      this.tell();
      try {
        this.model.send({ ...what, kind, request, view: this.view });
      } catch {
        this.settle(request, null, true);
      }
    });
  }
  hear(content, buffers) {
    if (content.view && content.view !== this.view) return;
    this.silent(false);
    if (content.reply == null) return content.error && this.failed(content.error);
    this.settle(content.reply, { ...content, buffers });
  }
  settle(request, answer, gaveUp = false) {
    const asked = this.open.get(request);
    if (!asked) return;
    clearTimeout(asked.timer);
    this.open.delete(request);
    this.tell();
    if (gaveUp) this.silent(true);
    else if (!answer.error) return asked.resolve(answer);
    else if (!asked.quiet) this.failed(answer.error);
    asked.reject(new Error(gaveUp ? "no answer" : answer.error));
  }
  tell() {
    this.busy([...this.open.values()].some((asked) => !asked.quiet));
  }
  close() {
    this.model.off("msg:custom", this.heard);
    for (const { timer } of this.open.values()) clearTimeout(timer);
    this.open.clear();
  }
}

// Which part of the picture is seen: screen = picture * scale + offset, in CSS pixels.
class Viewport {
  constructor() {
    Object.assign(this, { scale: 1, x: 0, y: 0, width: 1, height: 1, picture: [1, 1] });
  }
  get fitting() {
    return Math.min(this.width / this.picture[1], this.height / this.picture[0]);
  }
  resize(width, height, picture) {
    const fitted = this.scale <= this.fitting * 1.001 || String(picture) !== String(this.picture);
    Object.assign(this, { width, height, picture });
    if (fitted) this.fit();
    else this.settle();
  }
  fit() {
    this.scale = this.fitting;
    this.settle();
  }
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const [px, py] = this.toPicture(x, y);
    this.scale = clamp(this.scale * factor, this.fitting, Math.max(16, this.fitting));
    this.x = x - px * this.scale;
    this.y = y - py * this.scale;
    this.settle();
  }
  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.settle();
  }
  settle() {
    const inside = (offset, space, size) =>
      size <= space ? (space - size) / 2 : clamp(offset, space - size, 0);
    this.x = inside(this.x, this.width, this.picture[1] * this.scale);
    this.y = inside(this.y, this.height, this.picture[0] * this.scale);
  }
  toPicture(x, y) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }
  toScreen(x, y) {
    return [x * this.scale + this.x, y * this.scale + this.y];
  }
  get seen() {
    const [x0, y0] = this.toPicture(0, 0);
    const [x1, y1] = this.toPicture(this.width, this.height);
    const [height, width] = this.picture;
    return { x0: Math.max(0, x0), y0: Math.max(0, y0), x1: Math.min(width, x1), y1: Math.min(height, y1) };
  }
}

// A mask ready to be drawn: its tint, and a line around it.
function layerOf(mask, box, colour) {
  const across = mask.width / (box[2] - box[0]);
  const line = clamp(Math.max(mask.width, mask.height) / 300, 1, 5);
  const pad = Math.ceil(line) + 1;
  const size = [mask.width + 2 * pad, mask.height + 2 * pad];
  const stamped = (offsets, shade, hollow) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: size[0], height: size[1] });
    const context = canvas.getContext("2d");
    for (const [dx, dy] of offsets) context.drawImage(mask, pad + dx, pad + dy);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = shade;
    context.fillRect(0, 0, ...size);
    context.globalCompositeOperation = "destination-out";
    if (hollow) context.drawImage(mask, pad, pad);
    return canvas;
  };
  const around = Array.from({ length: 12 }, (_, n) => {
    return [line * Math.cos((n * Math.PI) / 6), line * Math.sin((n * Math.PI) / 6)];
  });
  const margin = pad / across;
  return {
    tint: stamped([[0, 0]], rgb(colour), false),
    line: stamped(around, rgb(colour.map((c) => Math.round(c + (255 - c) * 0.45))), true),
    place: [box[0] - margin, box[1] - margin, size[0] / across, size[1] / across],
  };
}

// Draws everything onto the canvas.
class Painter {
  constructor(canvas, viewport) {
    Object.assign(this, { canvas, viewport, layers: [], preview: null, detail: null, picture: null });
    this.context = canvas.getContext("2d");
    this.masks = document.createElement("canvas").getContext("2d");
  }
  paint({ objects, frame, selected, opacity, masks, box, cross }) {
    const { context, viewport } = this;
    const ratio = this.canvas.width / viewport.width;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const scale = viewport.scale * ratio;
    context.setTransform(scale, 0, 0, scale, viewport.x * ratio, viewport.y * ratio);
    this.drawPicture();
    this.drawMasks([...(masks ? this.layers : []), ...(this.preview ? [this.preview] : [])], opacity);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const one of objects) this.drawPrompt(one, one.prompts[frame], one.id === selected);
    if (box) this.drawBox(box, "white", true);
    if (cross) this.drawCross(...viewport.toScreen(...cross));
  }
  drawPicture() {
    const [height, width] = this.viewport.picture;
    this.context.imageSmoothingEnabled = this.viewport.scale < 4;
    if (this.picture) this.context.drawImage(this.picture, 0, 0, width, height);
    if (!this.detail) return;
    const [x0, y0, x1, y1] = this.detail.box;
    this.context.drawImage(this.detail.image, x0, y0, x1 - x0, y1 - y0);
  }
  // On a sheet of their own, so that what lies on top takes the place of what is below it.
  drawMasks(layers, opacity) {
    const { width, height } = this.canvas;
    Object.assign(this.masks.canvas, { width, height });
    this.masks.setTransform(this.context.getTransform());
    for (const { tint, line, place } of layers) {
      this.masks.globalCompositeOperation = "destination-out";
      this.masks.drawImage(tint, ...place);
      this.masks.globalCompositeOperation = "source-over";
      this.masks.globalAlpha = opacity;
      this.masks.drawImage(tint, ...place);
      this.masks.globalAlpha = 1;
      this.masks.drawImage(line, ...place);
    }
    this.context.resetTransform();
    this.context.drawImage(this.masks.canvas, 0, 0);
  }
  drawPrompt(one, prompt, selected) {
    if (!prompt) return;
    if (prompt.box) this.drawBox(prompt.box, rgb(one.colour), !selected);
    this.context.globalAlpha = selected ? 1 : 0.55;
    for (const [x, y, label] of prompt.points) this.drawPoint(...this.viewport.toScreen(x, y), label);
    this.context.globalAlpha = 1;
  }
  drawPoint(x, y, label) {
    const { context } = this;
    const disc = (radius, shade) => {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fillStyle = shade;
      context.fill();
    };
    disc(8.5, "rgba(0, 0, 0, 0.35)");
    disc(7.5, "white");
    disc(6, label ? "rgb(24, 168, 70)" : "rgb(226, 43, 52)");
    context.fillStyle = "white";
    context.fillRect(x - 3.5, y - 1, 7, 2);
    if (label) context.fillRect(x - 1, y - 3.5, 2, 7);
  }
  drawBox([x0, y0, x1, y1], shade, dashed) {
    const { context } = this;
    const [left, top] = this.viewport.toScreen(x0, y0);
    const [right, bottom] = this.viewport.toScreen(x1, y1);
    for (const [width, colour] of [[4, "rgba(0, 0, 0, 0.4)"], [2, shade]]) {
      context.setLineDash(dashed ? [6, 4] : []);
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(left, top, right - left, bottom - top);
    }
    context.setLineDash([]);
  }
  drawCross(x, y) {
    for (const [width, shade] of [[4, "rgba(0, 0, 0, 0.6)"], [2, "white"]]) {
      this.context.strokeStyle = shade;
      this.context.lineWidth = width;
      this.context.beginPath();
      for (const [dx, dy] of [[1, 0], [0, 1]]) {
        this.context.moveTo(x - 14 * dx, y - 14 * dy);
        this.context.lineTo(x + 14 * dx, y + 14 * dy);
      }
      this.context.stroke();
    }
  }
}

class View {
  constructor(model, el) {
    Object.assign(this, { model, el, viewport: new Viewport(), masks: true, beside: false, panning: false });
    this.kernel = new Kernel(model, {
      busy: (busy) => this.root?.setAttribute("aria-busy", busy),
      silent: (silent) => this.say(silent ? SILENT : null, "silent"),
      failed: (error) => this.say(error, "error"),
    });
    this.hovers = new Latest((at) => this.showPreview(at));
    this.frames = new Latest((frame) => this.kernel.ask("show", { frame }));
    this.details = new Latest(() => this.showDetail());
    this.build();
    this.painter = new Painter(this.canvas, this.viewport);
    this.listen();
    this.pictureChanged();
    this.stateChanged();
  }
  get state() {
    return this.model.get("_state");
  }
  get frame() {
    return this.model.get("_picture").frame ?? 0;
  }

  // -- the page's elements

  build() {
    const button = (text, title, onclick, attributes = {}) =>
      h("button", { type: "button", title, onclick, ...attributes }, text);
    const does = (action) => () => this.do(action);
    this.buttons = {
      undo: button("Undo", "Undo (Z)", does("undo")),
      redo: button("Redo", "Redo (Y)", does("redo")),
      on: button("+ on it", "Clicks point at the object", does("on")),
      beside: button("− beside it", "Clicks point beside the object (Shift)", does("beside")),
      pan: button("Move", "Dragging moves the picture (Space)", does("pan")),
      fit: button("All", "Show all of the picture (0)", does("fit")),
      hover: button("Preview", "Masks under the pointer (P)", does("hover")),
      masks: button("Masks", "Show masks (M)", does("masks")),
      help: button("?", "Keys (?)", does("help"), { "aria-label": "Keys" }),
    };
    this.opacity = h("input", { type: "range", min: 0, max: 1, step: 0.05, "aria-label": "Opacity of masks" });
    this.canvas = h("canvas", { tabindex: 0, role: "application", "aria-label": "Picture" });
    this.stage = h("div", { class: "mw-stage" }, this.canvas);
    this.list = h("ul", { class: "mw-objects", "aria-label": "Objects" });
    this.add = button("New object", "New object (N)", does("add"), { class: "mw-add" });
    this.status = h("div", { class: "mw-status", role: "status", "aria-live": "polite" });
    this.help = h("div", { class: "mw-help", role: "dialog", "aria-label": "Keys", hidden: true });
    const { undo, redo, on, beside, pan, fit, hover, masks, help } = this.buttons;
    const group = (...children) => h("span", { class: "mw-group" }, ...children);
    const spinner = h("span", { class: "mw-spinner", "aria-hidden": true });
    this.root = h(
      "div",
      { class: "maskwright", "data-lm-suppress-shortcuts": "true", "aria-busy": false },
      h(
        "div",
        { class: "mw-bar", role: "toolbar", "aria-label": "Tools" },
        group(undo, redo), group(on, beside), group(pan, fit), group(hover, masks), this.opacity, spinner, help,
      ),
      h("div", { class: "mw-main" }, this.stage, h("div", { class: "mw-side" }, this.list, this.add)),
    );
    if (this.state.film) this.root.append(this.buildFilm(button, does));
    this.root.append(this.status, this.help);
    this.el.replaceChildren(this.root);
  }
  buildFilm(button, does) {
    this.play = button("Play", "Play or pause (K)", does("play"));
    this.track = button("Track", "Track objects through the film (T)", does("track"), { class: "mw-track" });
    const last = this.state.frames - 1;
    this.slider = h("input", { type: "range", min: 0, max: last, step: 1, "aria-label": "Frame" });
    this.slider.addEventListener("input", () => this.goTo(Number(this.slider.value)));
    this.number = h("span", { class: "mw-number" });
    this.marks = h("div", { class: "mw-marks", "aria-hidden": true });
    this.progress = h("progress", { "aria-label": "Progress of tracking", hidden: true, max: 1 });
    const timeline = h("div", { class: "mw-timeline" }, this.slider, this.marks);
    return h("div", { class: "mw-film" }, this.play, timeline, this.number, this.progress, this.track);
  }
  listen() {
    this.traits = {
      "change:_state": () => this.stateChanged(),
      "change:_picture": () => this.pictureChanged(),
      "change:_masks": () => this.masksChanged(),
      "change:opacity": () => this.drawTools(),
      "change:hover": () => this.drawTools(),
    };
    for (const [name, heard] of Object.entries(this.traits)) this.model.on(name, heard);
    const on = (name, heard, options) => this.canvas.addEventListener(name, heard, options);
    on("pointerdown", (event) => this.pressed(event));
    on("pointermove", (event) => this.moved(event));
    on("pointerup", (event) => this.released(event));
    on("pointercancel", () => this.dropGesture());
    on("pointerleave", () => this.endPreview());
    on("contextmenu", (event) => (event.preventDefault(), event.stopPropagation()));
    on("wheel", (event) => this.wheeled(event), { passive: false });
    this.root.addEventListener("keydown", (event) => this.typed(event));
    this.root.addEventListener("keyup", (event) => event.key === " " && this.holdSpace(false));
    this.root.addEventListener("focusout", () => this.space && this.holdSpace(false));
    this.opacity.addEventListener("input", () => this.set("opacity", Number(this.opacity.value)));
    this.resizes = new ResizeObserver(() => this.resize());
    this.resizes.observe(this.stage);
  }
  close() {
    this.closed = true;
    this.kernel.close();
    this.resizes.disconnect();
    clearTimeout(this.poll);
    for (const [name, heard] of Object.entries(this.traits)) this.model.off(name, heard);
  }

  // -- what comes from the kernel

  stateChanged() {
    this.resize();
    this.drawTools();
    this.drawObjects();
    if (this.state.film) this.filmChanged(this.state.film);
    this.masksChanged();
  }
  async pictureChanged() {
    const { data, frame } = this.model.get("_picture");
    if (!data) return;
    const picture = await decoded(data, "image/jpeg");
    if (frame !== this.frame) return;
    Object.assign(this.painter, { picture, detail: null });
    this.root.dataset.frame = frame;
    if (this.state.film) this.drawFrameNumber();
    this.endPreview();
    this.masksChanged();
    this.askDetail();
  }
  async masksChanged() {
    const { items = [], frame } = this.model.get("_masks");
    const objects = new Map(this.state.objects.map((one) => [one.id, one]));
    const drawn = items.filter((one) => objects.has(one.object) && one.data.byteLength);
    drawn.sort((one, other) => other.area - one.area); // small objects lie on top
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const layers = await Promise.all(
      drawn.map(async (one) =>
        layerOf(await decoded(one.data, "image/png"), one.box, objects.get(one.object).colour),
      ),
    );
    if (turn !== this.turn || frame !== this.frame) return;
    this.painter.layers = layers;
    this.drawObjects();
    this.paint();
  }
  filmChanged(film) {
    if (film.error) this.say(film.error, "error");
    this.progress.hidden = !film.running;
    this.progress.value = film.total ? film.done / film.total : 0;
    this.track.textContent = film.running ? "Stop" : "Track";
    this.track.disabled = !film.running && !film.behind.length;
    this.drawFrameNumber();
    this.drawMarks(film);
    if (film.running) this.say(`Tracking: frame ${film.done} of ${film.total}`, "note");
    else if (this.polling) this.say(film.error || "Tracking has ended", film.error ? "error" : "note");
    clearTimeout(this.poll);
    this.polling = film.running;
    if (film.running) this.poll = setTimeout(() => this.lookIn(), 250);
  }
  drawFrameNumber() {
    this.number.textContent = `${this.frame} / ${this.state.frames - 1}`;
    if (!this.frames.busy) this.slider.value = this.frame;
  }
  async lookIn() {
    await this.kernel.ask("status", { follow: Boolean(this.follows) }).catch(() => {});
    if (this.closed || !this.state.film.running) return;
    clearTimeout(this.poll);
    this.poll = setTimeout(() => this.lookIn(), 250);
  }
  async showPreview({ x, y, label }) {
    const answer = await this.kernel.ask("preview", { x, y, label });
    if (!this.hovering || this.gesture) return;
    const [data] = answer.buffers;
    this.painter.preview =
      answer.box && data?.byteLength
        ? layerOf(await decoded(data, "image/png"), answer.box, answer.colour)
        : null;
    if (!this.hovering) this.painter.preview = null;
    this.paint();
  }
  askDetail() {
    clearTimeout(this.detailTimer);
    this.detailTimer = setTimeout(() => this.details.ask(), 150);
  }
  async showDetail() {
    const { viewport, painter } = this;
    const ratio = this.canvas.width / viewport.width;
    const sharp = painter.picture && painter.picture.width / viewport.picture[1] >= viewport.scale * ratio;
    const whole = painter.picture && painter.picture.width >= viewport.picture[1];
    if (sharp || whole || this.state.film?.running) return;
    const side = Math.max(this.canvas.width, this.canvas.height);
    const { box, frame, buffers } = await this.kernel.ask("window", { ...viewport.seen, side });
    const image = await decoded(buffers[0], "image/jpeg");
    if (frame === this.frame) painter.detail = { image, box };
    this.paint();
  }

  // -- drawing

  resize() {
    const [height, width] = this.state.size;
    const across = this.stage.clientWidth || 640;
    const down = Math.round(clamp((across * height) / width, 160, Math.max(320, 0.75 * window.innerHeight)));
    const ratio = window.devicePixelRatio || 1;
    const size = [Math.round(across * ratio), Math.round(down * ratio)];
    if (this.canvas.width !== size[0] || this.canvas.height !== size[1]) {
      [this.canvas.width, this.canvas.height] = size;
      this.canvas.style.height = `${down}px`;
    }
    this.viewport.resize(across, down, this.state.size);
    this.canvas.setAttribute("aria-label", `Picture of ${width} by ${height} pixels; press ? for keys`);
    this.paint();
  }
  paint() {
    if (this.painting || !this.painter) return;
    this.painting = requestAnimationFrame(() => {
      this.painting = 0;
      this.painter.paint({
        objects: this.state.objects,
        frame: this.frame,
        selected: this.state.selected,
        opacity: this.model.get("opacity"),
        masks: this.masks,
        box: this.gesture?.box,
        cross: this.cross,
      });
    });
  }
  drawTools() {
    const pressed = { on: !this.beside, beside: this.beside, pan: this.panning, masks: this.masks };
    for (const [name, value] of Object.entries({ ...pressed, hover: this.model.get("hover") }))
      this.buttons[name].setAttribute("aria-pressed", value);
    this.buttons.undo.disabled = !this.state.can_undo;
    this.buttons.redo.disabled = !this.state.can_redo;
    this.opacity.value = this.model.get("opacity");
    this.canvas.classList.toggle("mw-pan", this.panning || Boolean(this.space));
    this.paint();
  }
  drawObjects() {
    const { objects, selected } = this.state;
    const scores = new Map((this.model.get("_masks").items ?? []).map((one) => [one.object, one.score]));
    const shown = JSON.stringify([objects.map(({ id, name }) => [id, name, scores.get(id)]), selected]);
    if (shown === this.drawnObjects) return;
    this.drawnObjects = shown;
    this.list.replaceChildren(...objects.map((one) => this.row(one, one.id === selected, scores.get(one.id))));
    if (!objects.length) this.list.append(h("li", { class: "mw-hint" }, "Click an object, or drag a box"));
  }
  row(one, selected, score) {
    const name = h("input", { value: one.name, "aria-label": `Name of ${one.name}`, spellcheck: "false" });
    const rename = () => this.kernel.ask("rename", { object: one.id, name: name.value });
    name.addEventListener("change", () => rename().catch(() => (name.value = one.name)));
    name.addEventListener("focus", () => this.state.selected !== one.id && this.select(one.id));
    const choose = h("button", {
      type: "button",
      class: "mw-swatch",
      style: `background: ${rgb(one.colour)}`,
      title: `Choose ${one.name}`,
      "aria-label": `Choose ${one.name}`,
      "aria-pressed": selected,
      onclick: () => this.select(one.id),
    });
    const remove = h(
      "button",
      {
        type: "button",
        class: "mw-remove",
        title: `Delete ${one.name}`,
        "aria-label": `Delete ${one.name}`,
        onclick: () => this.ask("remove", { object: one.id }),
      },
      "×",
    );
    const quality = h("span", { class: "mw-score", title: "Expected overlap with the true outline" });
    quality.textContent = score == null ? "" : `${Math.round(100 * score)}%`;
    const item = h("li", { class: selected ? "mw-selected" : "", "data-object": one.id });
    item.append(choose, name, quality, remove);
    return item;
  }
  drawMarks({ covered }) {
    const share = (frame) => `${(100 * frame) / Math.max(1, this.state.frames - 1)}%`;
    const marks = covered.map(([first, last]) =>
      h("span", { class: "mw-covered", style: `left: ${share(first)}; width: calc(${share(last - first)} + 2px)` }),
    );
    for (const one of this.state.objects)
      for (const frame of Object.keys(one.prompts))
        marks.push(h("span", { class: "mw-tick", style: `left: ${share(frame)}; background: ${rgb(one.colour)}` }));
    this.marks.replaceChildren(...marks);
  }
  say(text, kind) {
    if (kind === "silent" && !text && this.status.dataset.kind !== "silent") return;
    this.status.textContent = text ?? "";
    this.status.dataset.kind = text ? kind : "";
  }

  // -- what the user does

  ask(kind, what = {}) {
    if (this.status.dataset.kind === "error") this.say(null, "note");
    this.endPreview();
    return this.kernel.ask(kind, what).catch(() => {});
  }
  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
    this.drawTools();
  }
  select(object) {
    return this.ask("select", { object });
  }
  do(action) {
    const film = this.state.film;
    const actions = {
      on: () => (this.beside = false),
      beside: () => (this.beside = !this.beside),
      pan: () => (this.panning = !this.panning),
      masks: () => (this.masks = !this.masks),
      fit: () => this.zoomed(() => this.viewport.fit()),
      hover: () => this.set("hover", !this.model.get("hover")),
      help: () => this.toggleHelp(),
      play: () => this.togglePlay(),
      track: () => {
        this.follows = !film.running;
        this.playing = false;
        this.ask(film.running ? "stop" : "track");
      },
    };
    if (actions[action]) actions[action]();
    else this.ask(action);
    this.drawTools();
  }
  goTo(frame) {
    this.follows = false;
    this.endPreview();
    return this.frames.ask(clamp(frame, 0, this.state.frames - 1));
  }
  async togglePlay() {
    this.playing = !this.playing;
    while (this.playing && !this.closed && this.frame < this.state.frames - 1) {
      this.play.textContent = "Pause";
      const pause = new Promise((done) => setTimeout(done, 1000 / (this.state.fps || 10)));
      const next = this.frame + 1;
      await Promise.all([this.goTo(next), pause]);
      if (!(await this.arrived(next))) break;
    }
    this.playing = false;
    this.play.textContent = "Play";
  }
  // Whether a frame is there: pictures may come a little later than the reply to what asked for them.
  async arrived(frame) {
    for (let turn = 0; turn < 100 && this.frame !== frame; turn++)
      await new Promise((done) => setTimeout(done, 20));
    return this.frame === frame;
  }
  toggleHelp(show = this.help.hidden) {
    const keys = this.state.film ? [...KEYS, ...FILM_KEYS] : KEYS;
    const rows = keys.map(([key, what]) => [h("kbd", {}, key), h("span", {}, what)]).flat();
    const close = h("button", { type: "button", onclick: () => this.toggleHelp(false) }, "Close");
    this.help.replaceChildren(h("div", { class: "mw-keys" }, ...rows), close);
    this.help.hidden = !show;
    (show ? close : this.canvas).focus();
  }
  at(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }
  inPicture(x, y) {
    const [px, py] = this.viewport.toPicture(x, y);
    const [height, width] = this.viewport.picture;
    return [clamp(px, 0, width), clamp(py, 0, height), px >= 0 && py >= 0 && px <= width && py <= height];
  }
  pressed(event) {
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.cross = null;
    const [x, y] = this.at(event);
    const pan = this.panning || this.space || event.button === 1;
    this.gesture = { x, y, pan, beside: this.beside || event.shiftKey || event.button === 2 };
    this.hovers.drop();
    event.preventDefault();
  }
  moved(event) {
    const [x, y] = this.at(event);
    const gesture = this.gesture;
    if (!gesture) return this.hoverAt(x, y, this.beside || event.shiftKey);
    if (gesture.pan) {
      this.zoomed(() => this.viewport.move(x - gesture.x, y - gesture.y));
      Object.assign(gesture, { x, y });
    } else if (gesture.box || Math.hypot(x - gesture.x, y - gesture.y) > DRAG) {
      const [x0, y0] = this.inPicture(gesture.x, gesture.y);
      const [x1, y1] = this.inPicture(x, y);
      gesture.box = [x0, y0, x1, y1];
      this.painter.preview = null;
      this.paint();
    }
  }
  released(event) {
    const gesture = this.gesture;
    this.dropGesture();
    if (!gesture || gesture.pan) return;
    if (gesture.box) {
      const [x0, y0, x1, y1] = gesture.box;
      this.ask("box", { x0, y0, x1, y1 });
    } else if (event.altKey) this.retract(gesture.x, gesture.y);
    else this.click(...this.inPicture(gesture.x, gesture.y), gesture.beside);
  }
  dropGesture() {
    this.gesture = null;
    this.paint();
  }
  click(x, y, inside, beside) {
    if (inside) this.ask("click", { x, y, label: beside ? 0 : 1 });
  }
  retract(x, y) {
    const near = (px, py) => Math.hypot(px - x, py - y) <= NEAR;
    for (const one of this.state.objects) {
      const prompt = one.prompts[this.frame];
      if (!prompt) continue;
      const place = prompt.points.findIndex(([px, py]) => near(...this.viewport.toScreen(px, py)));
      if (place >= 0) return this.ask("retract", { object: one.id, place });
      if (prompt.box && this.onFrame(prompt.box, x, y)) return this.ask("retract", { object: one.id });
    }
  }
  onFrame([x0, y0, x1, y1], x, y) {
    const [left, top] = this.viewport.toScreen(x0, y0);
    const [right, bottom] = this.viewport.toScreen(x1, y1);
    const distance = Math.max(left - x, x - right, top - y, y - bottom);
    return Math.abs(distance) <= NEAR;
  }
  hoverAt(x, y, beside) {
    const [px, py, inside] = this.inPicture(x, y);
    const idle = this.root.getAttribute("aria-busy") === "false" && !this.state.film?.running;
    this.hovering = inside && idle && this.model.get("hover") && !this.panning && !this.space;
    const begun = this.state.objects.find((one) => one.id === this.state.selected)?.prompts ?? {};
    if (this.hovering && (!beside || Object.keys(begun).length))
      this.hovers.ask({ x: px, y: py, label: beside ? 0 : 1 });
    else this.endPreview();
  }
  endPreview() {
    this.hovering = false;
    this.hovers.drop();
    if (this.painter) this.painter.preview = null;
    this.paint();
  }
  wheeled(event) {
    if (!this.root.matches(":focus-within") && !event.ctrlKey) return; // the page scrolls
    event.preventDefault();
    this.zoomed(() => this.viewport.zoom(Math.exp(-0.002 * event.deltaY), ...this.at(event)));
  }
  zoomed(change) {
    change();
    this.askDetail();
    this.paint();
  }
  holdSpace(held) {
    this.space = held;
    this.drawTools();
  }

  // -- keys

  typed(event) {
    event.stopPropagation(); // notebooks have keys of their own
    if (event.key === "Escape") return this.escape();
    if (event.target instanceof HTMLInputElement && event.target.type !== "range") {
      if (event.key === "Enter") this.canvas.focus();
      return;
    }
    if (event.target.type === "range" && event.key.startsWith("Arrow")) return;
    if (event.target instanceof HTMLButtonElement && [" ", "Enter"].includes(event.key)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if ((event.ctrlKey || event.metaKey) && !"zy".includes(key)) return;
    const action = this.actionOf(key, event);
    if (!action) return;
    event.preventDefault();
    action();
  }
  actionOf(key, event) {
    if (/^[1-9]$/.test(key)) return () => this.selectPlace(Number(key) - 1);
    if (key.startsWith("Arrow")) return () => this.moveCross(key, event.shiftKey ? 1 : 12);
    const selected = this.state.selected;
    const film = this.state.film && {
      ",": () => this.goTo(this.frame - 1),
      ".": () => this.goTo(this.frame + 1),
      t: () => !this.track.disabled && this.do("track"),
      k: () => this.do("play"),
    };
    return {
      ...film,
      z: () => this.do(event.shiftKey ? "redo" : "undo"),
      y: () => this.do("redo"),
      n: () => this.do("add"),
      p: () => this.do("hover"),
      m: () => this.do("masks"),
      "?": () => this.do("help"),
      0: () => this.do("fit"),
      "+": () => this.zoomed(() => this.viewport.zoom(1.3)),
      "=": () => this.zoomed(() => this.viewport.zoom(1.3)),
      "-": () => this.zoomed(() => this.viewport.zoom(1 / 1.3)),
      " ": () => this.holdSpace(true),
      "[": () => this.selectPlace(this.place - 1),
      "]": () => this.selectPlace(this.place + 1),
      Enter: () => this.cross && this.click(...this.cross, true, event.shiftKey || this.beside),
      F2: () => this.list.querySelector(".mw-selected input")?.select(),
      x: () => selected && this.ask("clear", { object: selected }),
      Delete: () => selected && this.ask("remove", { object: selected }),
      Backspace: () => selected && this.ask("remove", { object: selected }),
    }[key];
  }
  escape() {
    if (!this.help.hidden) return this.toggleHelp(false);
    this.dropGesture();
    this.playing = false;
    this.cross = null;
    if (this.state.film?.running) this.do("track");
  }
  get place() {
    return this.state.objects.findIndex((one) => one.id === this.state.selected);
  }
  selectPlace(place) {
    const one = this.state.objects[clamp(place, 0, this.state.objects.length - 1)];
    if (one) this.select(one.id);
  }
  moveCross(key, step) {
    const [height, width] = this.viewport.picture;
    const [x, y] = this.cross ?? [width / 2, height / 2];
    const by = step / this.viewport.scale;
    const dx = { ArrowLeft: -by, ArrowRight: by }[key] ?? 0;
    const dy = { ArrowUp: -by, ArrowDown: by }[key] ?? 0;
    this.cross = [clamp(x + dx, 0, width), clamp(y + dy, 0, height)];
    this.hoverAt(...this.viewport.toScreen(...this.cross), this.beside);
    this.paint();
  }
}

const SILENT =
  "The kernel does not answer: it is busy with another cell, or it has stopped. " +
  "If it has stopped, start it again and run this cell again.";
