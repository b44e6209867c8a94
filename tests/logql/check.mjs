// Holds the dashboard Loki events to what Alloy makes of korch's lines: `node check.mjs LINES`, where LINES is what a korch
// wrote to stderr during a run in which an object failed and another was skipped. Every query must parse, select lines of that
// run, and name only labels, structured metadata and fields that those lines really have. Exit code 1 if anything is not so.

import { readFileSync } from "node:fs";
import { parser } from "@grafana/lezer-logql";

const OBSERVABILITY = new URL("../../observability/", import.meta.url);
const read = (path) => readFileSync(new URL(path, OBSERVABILITY), "utf8");

let faults = 0;
function fault(where, what) {
  faults += 1;
  console.error(`${where}: ${what}`);
}

// ---- what Alloy makes of a line ----

// The block that begins with this line, to the brace that closes it. Strings of this file hold braces in pairs.
function block(text, start) {
  const from = text.indexOf(start);
  if (from < 0) throw new Error(`config.alloy has no ${start}`);
  let depth = 0;
  for (let at = text.indexOf("{", from); at < text.length; at += 1) {
    if (text[at] === "{") depth += 1;
    if (text[at] === "}" && --depth === 0) return text.slice(from, at + 1);
  }
  throw new Error(`config.alloy: ${start} has no end`);
}

// The map of a stage: name = "source", where "" stands for the name itself.
function map(text, stage, argument) {
  const inner = block(block(text, `stage.${stage} {`), `${argument} = {`);
  const pairs = [...inner.slice(inner.indexOf("{")).matchAll(/(\w+)\s*=\s*"([^"]*)"/g)];
  return Object.fromEntries(pairs.map(([, name, source]) => [name, source || name]));
}

const alloy = read("alloy/config.alloy").replace(/^\s*\/\/.*$/gm, "");
const pipeline = block(alloy, 'loki.process "korch" {').replace(/(\w+)\s+=/g, "$1 =");
const expressions = map(pipeline, "json", "expressions");
const fixed = map(pipeline, "static_labels", "values");
const labels = map(pipeline, "labels", "values");
const metadata = map(pipeline, "structured_metadata", "values");
const kept = [...block(pipeline, "stage.label_keep {").matchAll(/"(\w+)"/g)].map(([, name]) => name);

for (const [name, source] of Object.entries({ ...labels, ...metadata })) {
  if (!(source in expressions)) fault("config.alloy", `${name} is made from ${source}, which is not read from the line`);
}
const made = [...Object.keys(fixed), ...Object.keys(labels)];
if (made.toSorted().join() !== kept.toSorted().join()) fault("config.alloy", `makes the labels ${made}, keeps ${kept}`);
for (const name of ["id_objet", "run_id", "attempt", "worker"]) {
  if (name in labels) fault("config.alloy", `${name} is a label: each of its values would be a stream`);
}

function shipped(line, where) {
  let fields;
  try {
    fields = JSON.parse(line);
  } catch {
    return undefined; // said to people
  }
  for (const needed of ["timestamp", "level", "message", "producer"]) {
    if (typeof fields[needed] !== "string") fault(where, `no ${needed}, by which a line is known: ${line.slice(0, 200)}`);
  }
  const extracted = {};
  for (const [name, path] of Object.entries(expressions)) {
    if (fields[path] !== undefined && fields[path] !== null) extracted[name] = String(fields[path]);
  }
  const taken = (names) =>
    Object.fromEntries(Object.entries(names).flatMap(([name, of]) => (of in extracted ? [[name, extracted[of]]] : [])));
  return { fields, stream: { ...fixed, ...taken(labels) }, metadata: taken(metadata) };
}

const [file] = process.argv.slice(2);
const lines = readFileSync(file, "utf8")
  .split("\n")
  .flatMap((line, index) => (line.trim() === "" ? [] : [shipped(line, `${file}:${index + 1}`)]))
  .filter((line) => line !== undefined);
for (const needed of ["ObjectLoaded", "ObjectFailed", "ObjectSkipped", "RunFinished"]) {
  if (!lines.some((line) => line.fields.event_type === needed)) fault(file, `no ${needed}: not the run that this asks for`);
}
for (const [name, source] of Object.entries({ ...labels, ...metadata })) {
  if (!lines.some((line) => expressions[source] in line.fields)) fault("config.alloy", `no line of korch has ${source}`);
}

// ---- what the dashboard asks ----

const dashboard = JSON.parse(read("grafana/dashboards/loki-events.json"));
const variables = new Map(dashboard.templating.list.map((variable) => [variable.name, variable]));
// As Grafana begins: everything.
const CHOSEN = { __auto: "1m", __range: "1h", ...Object.fromEntries([...variables].map(([name, v]) => [name, v.allValue ?? v.query])) };
const replaced = (text) => text.replace(/\$(\w+)/g, (whole, name) => CHOSEN[name] ?? fault("a query", `unknown ${whole}`) ?? whole);

// A matcher of braces or of a label filter, against what a line has.
function matches({ name, operator, value }, has) {
  const found = has[name] ?? "";
  if (operator === "=") return found === value;
  if (operator === "!=") return found !== value;
  const whole = new RegExp(`^(?:${value})$`);
  return operator === "=~" ? whole.test(found) : !whole.test(found);
}

function check(title, query) {
  const names = { matchers: [], filters: [], parsed: new Map(), used: [] };
  const text = (node) => query.slice(node.from, node.to);
  let selectors = 0;
  parser.parse(query).iterate({
    enter({ node, name, type }) {
      if (type.isError) fault(title, `does not parse at ${node.from}: ${query}`);
      if (name === "Selector") selectors += 1;
      if (name === "Matcher") {
        const [label, operator, value] = [node.firstChild, node.firstChild?.nextSibling, node.lastChild].map(text);
        const list = node.parent.name === "LabelFilter" ? names.filters : names.matchers;
        list.push({ name: label, operator, value: JSON.parse(value) });
      }
      if (name === "LabelExtractionExpression") names.parsed.set(text(node.firstChild), JSON.parse(text(node.lastChild)));
      if (name === "Grouping") names.used.push(...text(node).match(/\w+/g).slice(1));
      if (name === "UnwrapExpr") names.used.push(text(node.lastChild));
      if (["JsonParser", "LogfmtParser", "LabelParser"].includes(name)) {
        fault(title, "parses without saying what for: name the fields");
      }
    },
  });
  if (selectors !== 1) fault(title, `${selectors} selectors, where this check reads one: ${query}`);
  for (const { name, operator, value } of names.matchers) {
    if (!kept.includes(name)) fault(title, `${name} is no label of a stream, but ${kept}`);
    const known = operator.includes("~") ? value.split("|") : [value];
    const isPlain = known.every((one) => /^\w[\w-]*$/.test(one));
    if (isPlain && !lines.some((line) => known.includes(line.stream[name]))) {
      fault(title, `no line of the run has ${name} = ${value}`);
    }
  }
  for (const { name } of names.filters) {
    if (!(name in metadata)) fault(title, `${name} is no structured metadata, but ${Object.keys(metadata)}`);
  }
  const selected = lines
    .filter((line) => names.matchers.every((matcher) => matches(matcher, line.stream)))
    .filter((line) => names.filters.every((filter) => matches(filter, line.metadata)));
  if (selected.length === 0) fault(title, `selects no line of the run: ${query}`);
  for (const [as, field] of names.parsed) {
    if (kept.includes(as) || as in metadata) fault(title, `${as} is there already: Loki would call it ${as}_extracted`);
    const without = selected.find((line) => line.fields[field] === undefined);
    if (without) fault(title, `no ${field} in ${JSON.stringify(without.fields)}`);
  }
  const available = [...kept, ...Object.keys(metadata), ...names.parsed.keys()];
  for (const name of names.used) if (!available.includes(name)) fault(title, `${name} is not there, but ${available}`);
  return { available, selected };
}

// Labels that Loki adds by itself.
const LOKIS = ["service_name", "detected_level"];
for (const panel of dashboard.panels) {
  const { title } = panel;
  for (const target of panel.targets) {
    const { available, selected } = check(title, replaced(target.expr));
    const columns = (panel.transformations ?? []).filter(({ id }) => id === "organize").map(({ options }) => options);
    for (const { indexByName, renameByName, excludeByName } of columns) {
      for (const name of [...Object.keys(indexByName), ...Object.keys(renameByName)]) {
        if (name === "Time") continue;
        if (!available.includes(name)) fault(title, `a column ${name} that is not there, but ${available}`);
        const has = (line) => line.fields[name] !== undefined || name in line.metadata || name in line.stream;
        if (!selected.some(has)) fault(title, `a column ${name} that stays empty`);
      }
      for (const name of Object.keys(excludeByName)) {
        if (![...available, ...LOKIS].includes(name)) fault(title, `hides ${name}, which is not there`);
      }
      for (const name of available) {
        if (!(name in indexByName) && !(name in excludeByName)) fault(title, `${name} is neither shown nor hidden`);
      }
    }
    console.log(`${String(selected.length).padStart(5)} lines  ${title}`);
  }
}

// What can be chosen is what there is.
for (const [variable, label] of [["producer", "producer"], ["event_type", "event_type"]]) {
  const choices = variables.get(variable).query.split(", ");
  for (const { stream } of lines.filter((line) => "event_type" in line.stream)) {
    if (!choices.includes(stream[label])) fault(variable, `${stream[label]} cannot be chosen from ${choices}`);
  }
}
console.log(`${lines.length} lines, ${dashboard.panels.length} panels, ${faults} faults`);
process.exit(faults > 0 ? 1 : 0);
