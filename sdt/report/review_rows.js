"use strict";

// corrections.csv: its text, its rows, and what they may say of a run.

const HEADER = ["example_id", "source_file", "given", "action", "label"];
const ACTIONS = ["keep", "relabel", "drop"];

/** Returns rows as CSV (RFC 4180, lines end as on Unix). */
function toCsv(rows) {
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return rows.map((row) => `${row.map((value) => cell(String(value))).join(",")}\n`).join("");
}

/** Returns the rows of a CSV text as {line, cells}; throws an Error that names the line. */
function fromCsv(text) {
  const token = /(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r\n|\n|\r|$)/y;
  const rows = [];
  let cells = [];
  let line = 1;
  let first = 1;
  while (token.lastIndex < text.length || cells.length) {
    const found = token.exec(text);
    if (!found) throw new Error(`line ${line}: a quote is out of place`);
    line += (found[0].match(/\r\n|\n|\r/g) ?? []).length;
    cells.push(found[1] === undefined ? found[2] : found[1].replaceAll('""', '"'));
    if (found[3] !== ",") {
      if (cells.length > 1 || cells[0]) rows.push({ line: first, cells });
      cells = [];
      first = line;
    }
  }
  return rows;
}

/**
 * Returns the decision of a row as [example id, {file, given, action, label}].
 *
 * Throws an Error that says what is wrong. `run` has `classes`, a Set of names, and `examples`, a
 * Map of example id -> example; a row of an example that the page does not show is taken as it is.
 */
function decisionOf(cells, run) {
  if (cells.length !== HEADER.length) {
    throw new Error(`${cells.length} cells, expected the ${HEADER.length} of ${HEADER.join(",")}`);
  }
  const [number, file, given, action, label] = cells.map(String);
  const id = Number(number);
  if (!/^\d+$/.test(number) || !Number.isSafeInteger(id)) {
    throw new Error(`example_id "${number}" is no number`);
  }
  if (!ACTIONS.includes(action)) {
    throw new Error(`action "${action}", expected ${ACTIONS.join(", ")}`);
  }
  for (const name of action === "relabel" ? [given, label] : [given]) {
    if (!run.classes.has(name)) throw new Error(`"${name}" is no class of this run`);
  }
  if (action === "relabel" ? label === given : label !== "") {
    throw new Error(`label "${label}" does not go with ${action} of "${given}"`);
  }
  const shown = run.examples.get(id);
  if (shown && action === "relabel" && shown.file === file && shown.given === label) {
    return [id, { file, given: label, action: "keep", label: "" }]; // the run has it already
  }
  if (shown && (shown.file !== file || shown.given !== given)) {
    const here = `"${shown.file}", given "${shown.given}"`;
    throw new Error(`example ${id} is ${here} here: is the file of other data?`);
  }
  return [id, { file, given, action, label }];
}

/** Returns the decisions of a corrections.csv as a Map; throws an Error that names the line. */
function decisionsOf(text, run) {
  const [header, ...rows] = fromCsv(text.replace(/^\uFEFF/, ""));
  if (header?.cells.join() !== HEADER.join()) {
    throw new Error(`line 1: expected the columns ${HEADER.join(",")}`);
  }
  const decisions = new Map();
  for (const { line, cells } of rows) {
    try {
      const [id, decision] = decisionOf(cells, run);
      if (decisions.has(id)) throw new Error(`example ${id} is there twice`);
      decisions.set(id, decision);
    } catch (error) {
      throw new Error(`line ${line}: ${error.message}`);
    }
  }
  return decisions;
}

/** Returns the cells of a row of corrections.csv. */
function rowOf(id, { file, given, action, label }) {
  return [id, file, given, action, label];
}
