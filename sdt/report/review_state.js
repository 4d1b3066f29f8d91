const EARLIER = "earlier"; // the action of what was reviewed before the run
const MOST_STEPS = 1000; // that can be undone
const MOST_WAITING = 2000; // milliseconds, for the browser's database

/** Returns what a request of IndexedDB comes to, as a promise. */
function answered(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * A second copy of what localStorage keeps. A browser writes it to disk at once, while localStorage
 * may follow a minute later: too late for a browser that crashes.
 */
class Journal {
  /** Opens it; where it does not answer, localStorage alone keeps the work. */
  static async open(key) {
    const journal = Object.assign(new Journal(), { key, base: null, text: null });
    const late = new Promise((resolve) => setTimeout(resolve, MOST_WAITING));
    await Promise.race([journal.read().catch(() => {}), late]);
    return journal;
  }

  async read() {
    const request = indexedDB.open("sdt-review", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("work");
    this.base = await answered(request);
    this.text = (await answered(this.store("readonly").get(this.key))) ?? null;
  }

  store(mode) {
    return this.base.transaction("work", mode, { durability: "strict" }).objectStore("work");
  }

  write(text) {
    this.text = text;
    if (this.base) answered(this.store("readwrite").put(text, this.key)).catch(() => {});
  }
}

/**
 * The decisions of a run: kept in the browser at every change, each of which can be undone. Below
 * them are earlier ones, which the run was trained with: they are in no file that is downloaded.
 */
class Decisions {
  /**
   * `run` is as in `decisionOf`; `tell` gets a text where the browser keeps nothing, or null once
   * it does.
   */
  constructor(journal, run, tell) {
    Object.assign(this, { journal, key: journal.key, run, tell, isKept: true });
    this.load(journal.text);
  }

  /**
   * Takes over what the browser has kept, or another copy of it that is newer. What cannot be read
   * is put aside, not lost.
   */
  load(other = null) {
    let text = null;
    this.clear();
    try {
      text = localStorage.getItem(this.key);
      this.take([text, other].filter(Boolean).map((one) => JSON.parse(one)));
    } catch (error) {
      this.clear();
      this.refuse(text, error);
    }
  }

  clear() {
    Object.assign(this, { decided: new Map(), steps: [], number: 0 });
  }

  take(copies) {
    if (!copies.length) return;
    const newest = copies.reduce((one, next) => (next.number > one.number ? next : one));
    this.decided = new Map(newest.rows.map((cells) => decisionOf(cells, this.run)));
    this.steps = newest.steps.map((step) =>
      step.map(([id, cells]) => [id, cells && decisionOf(cells, this.run)[1]]),
    );
    this.number = newest.number;
  }

  refuse(text, error) {
    if (text === null) {
      this.lose("keeps nothing", error);
      return;
    }
    const aside = `${this.key}:unreadable`;
    try {
      localStorage.setItem(aside, text);
    } catch {
      // No space: it stays where it is until the first decision.
    }
    const what = `What this browser kept of the run cannot be read (${error.message})`;
    this.tell(`${what}. It is put aside as ${aside}.`);
  }

  lose(what, error) {
    this.isKept = false;
    this.tell(`This browser ${what} (${error.message}): download your work before you leave.`);
  }

  save() {
    const rows = [...this.decided].map(([id, decision]) => rowOf(id, decision));
    const steps = this.steps.map((step) =>
      step.map(([id, before]) => [id, before && rowOf(id, before)]),
    );
    try {
      this.number += 1;
      const text = JSON.stringify({ number: this.number, rows, steps });
      this.journal.write(text);
      localStorage.setItem(this.key, text);
      if (!this.isKept) this.tell(null);
      this.isKept = true;
    } catch (error) {
      this.lose("cannot keep your work", error);
    }
  }

  /** Takes over decisions, as [id, decision] pairs, in one step. */
  decide(changes) {
    const step = [...changes].map(([id]) => [id, this.decided.get(id) ?? null]);
    for (const [id, decision] of changes) this.decided.set(id, decision);
    this.steps = [...this.steps, step].slice(-MOST_STEPS);
    this.save();
  }

  /** Takes back the last step; returns its example ids, [] where there is none. */
  undo() {
    const step = this.steps.pop() ?? [];
    for (const [id, before] of step) {
      if (before) this.decided.set(id, before);
      else this.decided.delete(id);
    }
    if (step.length) this.save();
    return step.map(([id]) => id);
  }

  of(id) {
    const isEarlier = this.run.examples.get(id)?.reviewed;
    return this.decided.get(id) ?? (isEarlier ? { action: EARLIER, label: "" } : undefined);
  }

  /** Returns how many decisions there are of each action. */
  counts() {
    const counts = { keep: 0, relabel: 0, drop: 0 };
    for (const { action } of this.decided.values()) counts[action] += 1;
    return counts;
  }

  /** Returns corrections.csv, by example id. */
  csv() {
    const rows = [...this.decided].sort(([one], [other]) => one - other);
    return toCsv([HEADER, ...rows.map(([id, decision]) => rowOf(id, decision))]);
  }
}
