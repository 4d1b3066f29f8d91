const MOST_CHOICES = 60;
const NUM_RECENT = 5;

/** Returns a number of a score as text. */
function numberText(value) {
  if (value === null) return "–";
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

/** One image large, with what is known of it and what was decided. */
class View {
  constructor(data, decisions) {
    Object.assign(this, { data, decisions, chart: new CourseChart(data.run.course) });
    const heads = ["score", "hard is", "mean", ...data.run.seeds.map((seed) => `seed ${seed}`)];
    $("seeds").append(...heads.map((text) => element("th", { scope: "col", text })));
  }

  /** Shows an example, or that there is none. */
  show(one, place) {
    const decision = one && this.decisions.of(one.id);
    $("heading").textContent = one ? `Example ${one.id}` : "No image matches";
    $("place").textContent = one ? place : "";
    $("large").hidden = !one;
    if (one) $("large").src = one.image;
    $("large").alt = one ? `example ${one.id}, given ${one.given}` : "";
    $("given").textContent = one?.given ?? "";
    $("suggested").textContent = one?.suggested ?? "";
    $("accepted").textContent = one?.suggested ?? "";
    $("decision").dataset.action = decision?.action ?? "";
    $("decision").replaceChildren(...(one ? this.decisionParts(decision) : []));
    $("why").textContent = one ? `Suspicion ${one.suspicion.toFixed(3)}: ${one.reason}.` : "";
    const origin = [one?.file && isolated(one.file), one?.subset && `subset ${one.subset}`];
    $("origin").textContent = origin.filter(Boolean).join(", ");
    this.chart.show(one);
    for (const id of ["keep", "accept", "relabel", "drop"]) $(id).disabled = !one;
    $("undo").disabled = !this.decisions.steps.length;
    $("details").hidden = !one || !this.data.scores.length;
    $("scores").replaceChildren(...(one ? this.rows(one) : []));
  }

  decisionParts(decision) {
    if (!decision) return ["none yet"];
    if (decision.action === EARLIER) return [`${MARKS[EARLIER]} ${inWords(decision)}`];
    if (decision.action !== "relabel") return [`${MARKS[decision.action]} ${decision.action}`];
    return ["→ relabel to ", element("bdi", { text: decision.label })];
  }

  rows(one) {
    const head = (text) => element("th", { scope: "row", text });
    const cell = (text) => element("td", { text });
    const rows = this.data.scores.map(({ name, hardFirst, values }) =>
      element("tr", {
        children: [
          head(name),
          cell(hardFirst > 0 ? "low" : "high"),
          ...values[one.place].map((value) => cell(numberText(value))),
        ],
      }),
    );
    if (!one.others.length) return rows;
    const names = one.others.map((number) =>
      element("td", {
        className: "name",
        children: [element("bdi", { text: this.data.run.classes[number] })],
      }),
    );
    const children = [head("other class"), cell(""), cell(""), ...names];
    return [element("tr", { children }), ...rows];
  }
}

/** Returns a name as it is searched for: without accents, case and invisible letters. */
function folded(name) {
  const visible = name.normalize("NFKD").replace(/[\p{M}\p{Cf}]/gu, "");
  return visible.replace(/\s+/g, " ").trim().toLowerCase();
}

/** The dialog that asks for a class. */
class Chooser {
  /** `choose` gets the name that is chosen. */
  constructor(classes, choose) {
    Object.assign(this, { choose, recent: [], at: 0, choices: [] });
    this.classes = classes.map((name) => ({ name, folded: folded(name) }));
    $("search").addEventListener("input", () => this.update());
    $("search").addEventListener("keydown", (event) => this.key(event));
    $("leave").addEventListener("click", () => $("chooser").close());
    $("choices").addEventListener("click", ({ target }) => {
      const option = target.closest("li");
      if (option) this.take(Number(option.dataset.index));
    });
  }

  /** Asks for another class than the given one; `likely` names come first. */
  ask(given, likely) {
    this.given = given;
    this.likely = [...new Set([...likely, ...this.recent])];
    $("search").value = "";
    $("chooser").showModal();
    this.update();
    $("search").focus();
  }

  /** Shows the classes whose name holds what was typed: the best match first, then likely ones. */
  update() {
    const typed = folded($("search").value);
    const rank = (one) => {
      const at = one.folded.indexOf(typed);
      if (at < 0) return null;
      const likely = this.likely.indexOf(one.name);
      const match = one.folded === typed ? 0 : at === 0 ? 1 : 2;
      return [typed ? match : 0, likely < 0 ? this.likely.length : likely];
    };
    const found = this.classes
      .filter((one) => one.name !== this.given)
      .map((one) => [one.name, rank(one)])
      .filter(([, ranks]) => ranks)
      .sort(([, one], [, other]) => one[0] - other[0] || one[1] - other[1]);
    this.choices = found.slice(0, MOST_CHOICES).map(([name]) => name);
    const more = found.length - this.choices.length;
    const some = `${found.length.toLocaleString("en")} ${found.length === 1 ? "class" : "classes"}`;
    $("num-choices").textContent = more ? `${some}, the first ${MOST_CHOICES} are shown` : some;
    $("choices").replaceChildren(...this.choices.map((name, index) => this.option(name, index)));
    this.point(0);
  }

  option(name, index) {
    const children = [element("bdi", { text: name })];
    const option = element("li", { id: `choice-${index}`, children });
    option.setAttribute("role", "option");
    option.dataset.index = index;
    return option;
  }

  point(index) {
    const options = [...$("choices").children];
    this.at = Math.min(Math.max(index, 0), Math.max(options.length - 1, 0));
    options.forEach((option, number) => {
      option.setAttribute("aria-selected", String(number === this.at));
    });
    const option = options[this.at];
    $("search").setAttribute("aria-activedescendant", option?.id ?? "");
    if (option) intoView($("choices"), option);
  }

  key(event) {
    if (event.isComposing) return;
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    if (event.key in moves) this.point(this.at + moves[event.key]);
    else if (event.key === "Enter") this.take(this.at);
    else return;
    event.preventDefault();
  }

  take(index) {
    const name = this.choices[index];
    if (name === undefined) return;
    this.recent = [name, ...this.recent.filter((one) => one !== name)].slice(0, NUM_RECENT);
    $("chooser").close();
    this.choose(name);
  }
}
