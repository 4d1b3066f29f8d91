const RANDOM = "random"; // the subset of test images that were drawn at random

/** The page: what keys and buttons do, and what is said of it. */
class Review {
  constructor(data, journal) {
    this.data = data;
    const { classes } = data.run;
    this.examples = data.examples.id.map((id, place) => {
      const of = (column) => data.examples[column]?.[place];
      const [given, suggested] = [classes[of("given")], classes[of("suggested")]];
      const pair = `${of("given")} ${of("suggested")}`;
      const rest = [
        ...["file", "suspicion", "agree", "reason", "subset"],
        ...["image", "others", "course", "reviewed"],
      ];
      const known = Object.fromEntries(rest.map((column) => [column, of(column)]));
      return { id, place, given, suggested, pair, isSuspect: of("suspect"), ...known };
    });
    const run = {
      classes: new Set(classes),
      examples: new Map(this.examples.map((one) => [one.id, one])),
    };
    this.run = run;
    this.decisions = new Decisions(journal, run, (text) => this.tell(text));
    this.view = new View(data, this.decisions);
    this.chooser = new Chooser(classes, (name) => this.decide("relabel", name));
    const choose = (one) => this.choose(one, { withScroll: true });
    this.list = new List(data, this.examples, { decisions: this.decisions, choose });
    this.introduce();
    this.listen();
    this.recall();
    this.refresh();
  }

  introduce() {
    const { run } = this.data;
    const [number, shown] = [(count) => count.toLocaleString("en"), this.examples.length];
    const rest = run.numAll - shown;
    $("title").textContent = run.title;
    document.title = `Review of ${run.title} - sdt`;
    const suspects = Number.isInteger(run.numSuspects)
      ? ` ${number(run.numSuspects)} are suspects, of which another class is 12 times as probable.`
      : "";
    $("about").textContent =
      `${number(shown)} of ${number(run.numAll)} ${run.side} images, the most suspicious first` +
      `${rest ? `; the other ${number(rest)} are in ${run.table}` : ""}.${suspects} ` +
      `Suspicion${run.source ? `, by ${run.source},` : ""} is an order in which to look, ` +
      "not a verdict.";
    const key = run.side === "test" ? "data.corrections_test" : "data.corrections";
    $("file").textContent = run.file;
    $("how").textContent = `--config.${key}=${run.file}`;
    for (const one of document.querySelectorAll(".side")) one.textContent = run.side;
    document.body.dataset.side = run.side;
    $(`to-${run.side}`)?.setAttribute("aria-current", "page");
    $("memorised").hidden = !run.saysLittle;
    document.body.classList.toggle("pixels", run.longest <= 16);
    $("details").open = matchMedia("(min-width: 900px)").matches; // the list is below it else
  }

  listen() {
    const clicks = {
      keep: () => this.decide("keep"),
      accept: () => this.accept(),
      relabel: () => this.ask(),
      drop: () => this.decide("drop"),
      undo: () => this.undo(),
      previous: () => this.step(-1),
      next: () => this.step(1),
      download: () => this.download(),
      unfilter: () => this.unfilter(),
      "unfilter-too": () => this.unfilter(),
    };
    for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);
    $("filters").addEventListener("change", () => this.refresh());
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    $("upload").addEventListener("change", () => this.upload());
    document.addEventListener("keydown", (event) => this.key(event));
    addEventListener("storage", ({ key }) => {
      if (key !== this.data.run.key) return;
      this.decisions.load(); // another tab has changed it
      this.refresh();
    });
    addEventListener("beforeunload", (event) => {
      if (!this.decisions.isKept) event.preventDefault();
    });
  }

  unfilter() {
    $("filters").reset();
    this.refresh();
  }

  /** Shows all anew, after a change of decisions or filters. */
  refresh({ withFocus = false } = {}) {
    this.examples.forEach((one) => this.list.mark(one));
    this.list.update();
    if (!this.list.shown.includes(this.current)) this.current = this.list.shown[0];
    this.show({ withFocus });
  }

  show({ withFocus = false } = {}) {
    const index = this.list.shown.indexOf(this.current);
    const total = this.list.shown.length.toLocaleString("en");
    this.view.show(this.current, `${(index + 1).toLocaleString("en")} of ${total}`);
    this.list.point(this.current, { withFocus });
    this.count();
    this.remember();
  }

  count() {
    const [counts, number] = [this.decisions.counts(), (count) => count.toLocaleString("en")];
    const [total, own] = [this.examples.length, this.decisions.decided];
    const done = this.examples.filter((one) => own.has(one.id)).length;
    const elsewhere = own.size - done;
    const more = elsewhere ? `, ${elsewhere} of them of images that are not shown here` : "";
    $("counter").textContent =
      `${number(done)} of ${number(total)} decided: ` +
      `${counts.keep} keep, ${counts.relabel} relabel, ${counts.drop} drop${more}`;
    const isDone = (one) => Boolean(this.decisions.of(one.id));
    const suspects = this.examples.filter((one) => one.isSuspect);
    const [of, before] = [suspects.length, this.examples.filter((one) => one.reviewed).length];
    const said = [
      of ? `Suspects: ${number(suspects.filter(isDone).length)} of ${number(of)} done.` : "",
      before ? `${number(before)} kept in an earlier review.` : "",
      this.sampleInWords(),
    ];
    $("suspects-done").textContent = said.filter(Boolean).join(" ");
    const some = of ? suspects : this.examples;
    const value = some.filter(isDone).length;
    Object.assign($("progress"), { max: Math.max(some.length, 1), value });
    $("progress").setAttribute("aria-labelledby", of ? "suspects-done" : "counter");
    $("download").disabled = !own.size;
  }

  /** Returns how far the random sample is, and what was wrong in it; "" without one. */
  sampleInWords() {
    const sample = this.examples.filter((one) => one.subset === RANDOM);
    if (!sample.length || this.data.run.side !== "test") return "";
    const found = sample.map((one) => this.decisions.of(one.id)).filter(Boolean);
    const wrong = found.filter(({ action }) => action === "relabel" || action === "drop").length;
    return `Random sample: ${found.length} of ${sample.length} done, ${wrong} of them mended.`;
  }

  choose(one, { withFocus = false, withScroll = false } = {}) {
    this.current = one;
    this.show({ withFocus });
    this.say(this.described(one));
    if (withScroll && $("viewer").getBoundingClientRect().top < 0) $("viewer").scrollIntoView();
  }

  described(one) {
    if (!one) return "No image matches";
    const decision = this.decisions.of(one.id);
    const said = decision ? `; ${inWords(decision)}` : "";
    return `Example ${one.id}: given ${one.given}, suggested ${one.suggested}${said}`;
  }

  /** Decides on the current example and goes on to the next. */
  decide(action, label = "") {
    const one = this.current;
    if (!one) return;
    const { file, given } = one;
    const [index, withFocus] = [this.list.shown.indexOf(one), this.isInGrid()];
    const next = this.list.shown[index + 1];
    this.decisions.decide([[one.id, { file, given, action, label }]]);
    this.list.mark(one);
    if ($("by-state").value !== "all") this.list.update();
    const isLast = !next;
    this.current = next ?? this.list.shown.at(-1);
    this.show({ withFocus });
    const where = isLast ? "That was the last image of the list" : this.described(this.current);
    this.say(`Example ${one.id}: ${inWords({ action, label })}. ${where}.`);
  }

  accept() {
    if (this.current) this.decide("relabel", this.current.suggested);
  }

  ask() {
    if (!this.current) return;
    const { given, suggested, others } = this.current;
    const likely = counted(others).map(([number]) => this.data.run.classes[number]);
    this.chooser.ask(given, [suggested, ...likely]);
  }

  undo() {
    const [withFocus, ids] = [this.isInGrid(), this.decisions.undo()];
    if (!ids.length) return this.say("Nothing to undo");
    const changed = ids.map((id) => this.run.examples.get(id)).filter(Boolean);
    changed.forEach((one) => this.list.mark(one));
    if ($("by-state").value !== "all") this.list.update();
    const one = changed.at(-1);
    if (this.list.shown.includes(one)) this.current = one;
    else if (!this.list.shown.includes(this.current)) this.current = this.list.shown[0];
    this.show({ withFocus });
    const what = ids.length === 1 ? `Example ${ids[0]}` : `${ids.length} decisions`;
    this.say(`Undone: ${what}.`);
  }

  step(offset, { withFocus = this.isInGrid() } = {}) {
    const { shown } = this.list;
    const index = shown.indexOf(this.current) + offset;
    const one = shown[Math.min(Math.max(index, 0), shown.length - 1)];
    if (one && one !== this.current) this.choose(one, { withFocus });
    else this.say(offset > 0 ? "That was the last image" : "That was the first image");
  }

  isInGrid() {
    return $("grid").contains(document.activeElement);
  }

  key(event) {
    const { target } = event;
    const isTyped = target.matches("input:not([type=checkbox]), select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey || isTyped || $("chooser").open) return;
    const act = this.moves(event.key) ?? ($("keys").checked ? this.actions(event) : undefined);
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** Returns what a key does that moves in the list; undefined for another key. */
  moves(key) {
    const all = { ArrowLeft: -1, ArrowRight: 1 };
    const inGrid = { Home: -Infinity, End: Infinity, ArrowUp: -1, ArrowDown: 1 };
    if (key in all) return () => this.step(all[key]);
    if (!(key in inGrid) || !this.isInGrid()) return undefined;
    const rows = key.startsWith("Arrow") ? this.list.columns() : 1;
    return () => this.step(inGrid[key] * rows, { withFocus: true });
  }

  /** Returns what a letter does; with a keyboard of another script, the key in its place. */
  actions({ key, code }) {
    const letter = /^[a-z]$/i.test(key) ? key : code.replace(/^Key/, "");
    return {
      ...{ k: () => this.decide("keep"), a: () => this.accept(), r: () => this.ask() },
      ...{ d: () => this.decide("drop"), u: () => this.undo(), s: () => this.download() },
      ...{ n: () => this.step(1), p: () => this.step(-1) },
    }[letter.toLowerCase()];
  }

  download() {
    const count = this.decisions.decided.size;
    if (!count) return this.say("Nothing to download: no image is decided");
    const blob = new Blob([this.decisions.csv()], { type: "text/csv;charset=utf-8" });
    const href = URL.createObjectURL(blob);
    element("a", { href, download: this.data.run.file }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
    this.say(`${this.data.run.file} with ${count} ${count === 1 ? "row" : "rows"} is downloaded`);
  }

  async upload() {
    const [file] = $("upload").files;
    if (!file) return;
    try {
      const bytes = await file.arrayBuffer();
      const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
      const read = decisionsOf(text, this.run);
      if (read.size) this.decisions.decide(read);
      this.tell(null);
      this.say(`${read.size} decisions of ${file.name} are taken over; Undo takes them back`);
    } catch (error) {
      this.tell(`${file.name} is not taken over: ${error.message}`);
    }
    $("upload").value = ""; // so that the same file can be chosen again
    this.refresh();
  }

  /** Keeps the place and the filters; lost ones do no harm. */
  remember() {
    const filters = FILTERS.map((id) => $(id).value);
    const [reverse, keys] = [$("reverse").checked, $("keys").checked];
    const place = { id: this.current?.id, filters, reverse, keys };
    try {
      localStorage.setItem(`${this.data.run.key}:place`, JSON.stringify(place));
    } catch {
      // The decisions say so if nothing can be kept.
    }
  }

  recall() {
    try {
      const place = JSON.parse(localStorage.getItem(`${this.data.run.key}:place`) ?? "{}");
      this.current = this.run.examples.get(place.id);
      place.filters?.forEach((value, index) => {
        const select = $(FILTERS[index]);
        if ([...select.options].some((option) => option.value === value)) select.value = value;
      });
      $("reverse").checked = place.reverse === true;
      $("keys").checked = place.keys !== false;
    } catch {
      this.current = undefined;
    }
  }

  /** Says something to those who hear the page. */
  say(text) {
    $("said").textContent = text;
  }

  /** Shows a problem; null takes it away. */
  tell(text) {
    $("problem").textContent = text ?? "";
    $("problem").hidden = !text;
  }
}

async function start() {
  const block = (location.hash === "#test" && $("data-test")) || $("data");
  const data = JSON.parse(block.textContent);
  addEventListener("hashchange", () => location.reload());
  new Review(data, await Journal.open(data.run.key));
  document.body.dataset.ready = "yes";
}

start();
