"""Catalogues and selections at random, each with what networkx says of it. A line of JSON each, on stdout.

    python reference.py CATALOGUES SEED

It shares nothing with korch: selections are made, not parsed, and sets of nodes are asked of networkx.
"""

import json
import random
import re
import sys

import networkx as nx

STAGES = ["ingest", "standardize", "application"]
ZONES = ["1-Raw", "2-Standardized", "3-Application"]
WORDS = ["Projets", "projets", "Tâches", "Clients", "Été", "Temps passé", "Temps", "a+b", "1+1", "x,y", "", "(v2)"]
SOURCES = ["EasyProjects", "Sage", "SAGE", "Salesforce", "Data Lake", None]
CRITICALITIES = {"low": "low", "basse": "low", "medium": "medium", "Moyenne": "medium", "HIGH": "high", "haute": "high"}
SELECTIONS = 8  # of each catalogue


def stage_of(number):
    return STAGES[min(number // 1000, 3) - 1]


def catalogue(rng):
    """Entries, in any order, and the ids that some parent has and no entry."""
    count = rng.randint(3, 30)
    ids = rng.sample(range(1000, 3400), count)
    undescribed = [number for number in rng.sample(range(1000, 3400), 4) if number not in ids]
    order = sorted(ids, key=lambda number: (number // 1000, rng.random())) if rng.random() < 0.6 else ids
    entries = []
    for i, number in enumerate(order):
        parents = rng.sample(order[:i], min(i, rng.choice([0, 1, 1, 2, 3])))
        if undescribed and rng.random() < 0.2:
            parents.append(rng.choice(undescribed))
        entry = {"IdObjet": number, "IdObjet_Parent": rng.choice([parents, ",".join(map(str, parents))])}
        if rng.random() < 0.2:
            entry["Zone"] = rng.choice(ZONES)
        if rng.random() < 0.8:
            entry["NomObjet"] = rng.choice(WORDS) + rng.choice(["", " 2", " - " + rng.choice(WORDS)])
        if rng.random() < 0.6:
            entry["Criticité"] = rng.choice(list(CRITICALITIES))
        if rng.random() < 0.15:
            entry["EtatObjet"] = "inactif"
        source = rng.choice(SOURCES)
        if source:
            entry["NomSource"] = source
        elif rng.random() < 0.5:
            entry["NomSource0LookupId"] = rng.choice([12, "12", 7])
        entries.append(entry)
    if not any(is_active(entry) and facts(entry)["stage"] == "application" for entry in entries):
        entries.append({"IdObjet": 3999, "IdObjet_Parent": order[-1]})
    if rng.random() < 0.5:
        rng.shuffle(entries)
    return entries


def is_active(entry):
    return entry.get("EtatObjet", "actif") == "actif"


def facts(entry):
    zone = entry.get("Zone")
    lookup = entry.get("NomSource0LookupId")
    return {
        "stage": STAGES[ZONES.index(zone)] if zone else stage_of(entry["IdObjet"]),
        "criticality": CRITICALITIES[entry.get("Criticité", "medium")],
        "name": entry.get("NomObjet") or None,
        "source": entry.get("NomSource") or (str(lookup) if lookup else None),
    }


def parents_of(entry):
    parents = entry["IdObjet_Parent"]
    if isinstance(parents, str):
        return [int(part) for part in parents.split(",") if part]
    return parents if isinstance(parents, list) else [parents]


class Lake:
    def __init__(self, entries, missing):
        self.entries = {entry["IdObjet"]: entry for entry in entries}
        self.graph = nx.DiGraph()
        self.facts = {}
        self.bad = set()
        active = [entry for entry in entries if is_active(entry)]
        for entry in active:
            self.graph.add_node(entry["IdObjet"])
            self.facts[entry["IdObjet"]] = facts(entry)
        for entry in active:
            for parent in parents_of(entry):
                if parent in self.entries:
                    if is_active(self.entries[parent]):
                        self.graph.add_edge(parent, entry["IdObjet"])
                elif missing == "implicit":
                    self.facts[parent] = {"stage": stage_of(parent), "criticality": "medium", "name": None, "source": None}
                    self.graph.add_edge(parent, entry["IdObjet"])
                elif missing == "error":
                    self.bad.add(entry["IdObjet"])
        self.inactive = [facts(entry) for entry in entries if not is_active(entry)]
        self.back = self.graph.reverse()

    def around(self, nodes, up, down):
        found = set(nodes)
        for node in nodes:
            for graph, levels in [(self.back, up), (self.graph, down)]:
                if levels == "":
                    found |= nx.descendants(graph, node)
                elif levels:
                    found |= set(nx.single_source_shortest_path_length(graph, node, cutoff=levels))
        return found


class Refused(Exception):
    pass


def like(pattern):
    parts = [".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern.lower()]
    return re.compile("".join(parts), re.DOTALL)


def written(rng, value):
    """A value as a selector has it: in quotes where it has to be, and sometimes where not."""
    if re.search(r"[ ,]|\+\d*$", value) or rng.random() < 0.2:
        return f'"{value}"'
    return value


def any_case(rng, text):
    return rng.choice([text, text.lower(), text.upper()])


def pattern(rng, text):
    cut = rng.randint(0, len(text))
    return rng.choice([text, text[:cut] + "*", "*" + text[cut:], text[:cut] + "?" + text[cut + 1 :], "*"])


def term(rng, lake):
    """Its text, and a function that says which nodes it names."""
    kind = rng.choice(["id", "id", "id", "stage", "criticality", "name", "source"])
    inactive = []
    if kind == "id":
        number = rng.choice(sorted(lake.graph)) if rng.random() < 0.93 else rng.choice([*lake.entries, 3333])
        value = str(number)
        nodes = [number] if number in lake.graph else []
        inactive = [number] if number in lake.entries and not nodes else []
    else:
        if kind == "stage":
            wanted = rng.choice(STAGES)
            value = any_case(rng, wanted)
            hit = lambda fact: fact == wanted
        elif kind == "criticality":
            word = rng.choice(list(CRITICALITIES))
            wanted = CRITICALITIES[word]
            value = any_case(rng, word)
            hit = lambda fact: fact == wanted
        else:
            some = [fact[kind] for fact in lake.facts.values() if fact[kind]] or ["nothing"]
            text = pattern(rng, any_case(rng, rng.choice(some)))
            text = text.strip() or "*"
            regex = like(text)
            value = written(rng, text)
            hit = lambda fact: fact is not None and regex.fullmatch(fact.lower()) is not None
        nodes = [node for node, fact in lake.facts.items() if hit(fact[kind])]
        inactive = [fact for fact in lake.inactive if hit(fact[kind])]
        value = f"{kind}:{value}"
    up = rng.choice([0, 0, "", "", 1, 2])
    down = rng.choice([0, 0, 0, "", 1, 2])
    text = ("" if up == 0 else f"{up}+") + value + ("" if down == 0 else f"+{down}")

    def evaluate(excludes):
        if not nodes and not (excludes and inactive):
            raise Refused("inactive" if inactive else "unknown" if kind == "id" else "matches nothing")
        return lake.around(nodes, up, down), bool(nodes)

    return text, evaluate


def clause(rng, lake):
    terms = [term(rng, lake) for _ in range(rng.choice([1, 1, 1, 2, 3]))]

    def evaluate(excludes):
        found = [evaluate(excludes) for _, evaluate in terms]
        common = set.intersection(*(nodes for nodes, _ in found))
        if not common and len(found) > 1 and all(sound for _, sound in found):
            raise Refused("leaves nothing")
        return common

    return ",".join(text for text, _ in terms), evaluate


def arguments(rng, clauses):
    """Some of them in one argument, separated by spaces."""
    found = []
    for text, _ in clauses:
        if found and rng.random() < 0.3:
            found[-1] += rng.choice([" ", "  "]) + text
        else:
            found.append(text)
    return found


def case(rng, entries):
    missing = rng.choice(["implicit", "implicit", "external", "error"])
    lake = Lake(entries, missing)
    select = [clause(rng, lake) for _ in range(rng.choice([0, 1, 1, 2, 3]))]
    exclude = [clause(rng, lake) for _ in range(rng.choice([0, 0, 1, 2]))]
    expected = {}
    try:
        refusals = []

        def union(clauses, excludes):
            nodes = set()
            for _, evaluate in clauses:
                try:
                    nodes |= evaluate(excludes)
                except Refused as refused:
                    refusals.append(str(refused))
            return nodes

        finals = [node for node, fact in lake.facts.items() if fact["stage"] == "application" and node in lake.entries]
        chosen = union(select, False) if select else lake.around(finals, "", 0)
        chosen -= union(exclude, True)
        if refusals:
            raise Refused(refusals[0])
        if not chosen:
            raise Refused("the selection is empty")
        if chosen & lake.bad:
            raise Refused("described by no entry")
        expected["objects"] = sorted(chosen)
        expected["edges"] = sorted(lake.graph.subgraph(chosen).edges)
        if select or exclude:
            outside = {parent for node in chosen for parent in lake.graph.predecessors(node)} - chosen
            expected["outside"] = len(outside)
    except Refused as refused:
        expected["refused"] = str(refused)
    return {"missing": missing, "select": arguments(rng, select), "exclude": arguments(rng, exclude), **expected}


def main():
    count, seed = map(int, sys.argv[1:])
    for i in range(count):
        rng = random.Random(seed * 1_000_003 + i)
        entries = catalogue(rng)
        cases = [case(rng, entries) for _ in range(SELECTIONS)]
        print(json.dumps({"catalogue": json.dumps(entries, ensure_ascii=False), "cases": cases}))


if __name__ == "__main__":
    main()
