// Checks docs/asyncapi.yaml, then every event in the files named: each against the message that its event_type chooses.
// A file of .ndjson has an event on every line, as `korch` writes them to the log; of any other file (protocol.md) the lines
// that begin with {"event_type" or {"member_type" are taken. Exit code 1 if anything is not as the file says.

import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
import Ajv from "ajv";
import addFormats from "ajv-formats";

const SPEC = new URL("../../docs/asyncapi.yaml", import.meta.url);
// What the parser tells of in passing: that the specification has a later version, and the like.
const WARNING = 1;

const { document, diagnostics } = await new Parser().parse(readFileSync(SPEC, "utf8"));
const grave = diagnostics.filter((diagnostic) => diagnostic.severity <= WARNING);
for (const { code, message, path, range } of grave) {
  console.error(`docs/asyncapi.yaml:${range.start.line + 1}: ${code}: ${message} (${path.join(".")})`);
}
if (!document || grave.length > 0) process.exit(1);

// A field that the file does not describe is a fault of the file, so objects are closed unless it leaves them open.
function closed(schema) {
  if (Array.isArray(schema)) return schema.map(closed);
  if (schema === null || typeof schema !== "object") return schema;
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  return schema.type === "object" && schema.properties ? { additionalProperties: false, ...copy } : copy;
}

const ajv = new Ajv({ strict: false, allErrors: true });
addFormats(ajv);
const validators = new Map(
  document
    .allMessages()
    .all()
    .map((message) => [message.id(), ajv.compile(closed(message.payload().json()))]),
);
const MEMBERS = { Worker: "WorkerHeartbeat", Claim: "Claim", Leader: "LeaderHeartbeat" };
const OLD = { ObjectReady: "OldReady", ObjectLoaded: "OldLoaded", ObjectFailed: "OldFailed" };

function messageOf(event) {
  if ("member_type" in event) return MEMBERS[event.member_type];
  return ("run_id" in event ? undefined : OLD[event.event_type]) ?? event.event_type;
}

const seen = new Map();
let failed = 0;

function check(where, value) {
  let fault = "not a JSON object";
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    const message = messageOf(value);
    const validate = validators.get(message);
    seen.set(message, (seen.get(message) ?? 0) + 1);
    if (!validate) fault = `no message ${message}`;
    else if (validate(value)) return;
    else fault = validate.errors.map((e) => `${e.instancePath || "/"} ${e.message} ${JSON.stringify(e.params)}`).join("; ");
  }
  failed += 1;
  console.error(`${where}: ${fault}\n  ${JSON.stringify(value).slice(0, 200)}`);
}

let checked = 0;
// The parser does not hold a message's examples against its schema.
for (const message of document.allMessages().all()) {
  for (const [index, example] of message.examples().all().entries()) {
    checked += 1;
    check(`docs/asyncapi.yaml: ${message.id()}: example ${index + 1}`, example.payload());
  }
}
for (const file of process.argv.slice(2)) {
  const before = checked;
  for (const [index, line] of readFileSync(file, "utf8").split("\n").entries()) {
    const isEvent = file.endsWith(".ndjson") ? line.trim() !== "" : /^\{"(event|member)_type"/.test(line);
    if (!isEvent) continue;
    checked += 1;
    let value;
    try {
      value = JSON.parse(line);
    } catch {
      value = line;
    }
    check(`${file}:${index + 1}`, value);
  }
  if (checked === before) {
    failed += 1;
    checked += 1;
    console.error(`${file}: not one event in it`);
  }
}
for (const [message, count] of seen) console.log(`${String(count).padStart(7)} ${message}`);
console.log(`${checked - failed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
