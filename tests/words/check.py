#!/usr/bin/env python3
"""Finds phrases in user-visible text that a reader must parse twice, and says which words to use instead.

    check.py FILE...      check these files; exit code 1 if anything was found
    check.py --count FILE...  print the number of findings of each file
    check.py --self-test  every rule of list.txt finds its own sentence in every format, and no correct sentence

The rules are in list.txt. Checked are: text of Markdown outside of code; comments and strings of YAML; string literals
of Rust outside of tests, and the doc comments that become descriptions of CRDs or `--help`; everything in other files.
"""

import re
import sys
import tempfile
from bisect import bisect_right
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Rust files whose doc comments users read: CRD descriptions and `--help`.
DOCUMENTED = re.compile(r"(^|/)src/(api/.*|args)\.rs$")


class Rule:
    def __init__(self, line):
        self.pattern, self.instead, self.sentence = line.split("\t")
        # A rule with a capital letter in it means the start of a sentence.
        letters = re.sub(r"\\[A-Za-z]|HostUp|\(\?P", "", self.pattern)
        flags = 0 if re.search(r"[A-Z]", letters) else re.IGNORECASE
        self.regex = re.compile(self.pattern, flags)


def rules():
    lines = (HERE / "list.txt").read_text(encoding="utf-8").splitlines()
    return [Rule(line) for line in lines if line and not line.startswith("#")]


class Passage:
    """Lines of text that belong together, joined by single spaces; knows the line of each position."""

    def __init__(self):
        self.text, self.starts, self.lines = "", [], []

    def add(self, line, text):
        text = text.strip()
        if text:
            if self.text:
                self.text += " "
            self.starts.append(len(self.text))
            self.lines.append(line)
            self.text += text

    def line_at(self, position):
        return self.lines[bisect_right(self.starts, position) - 1]

    def sentence_at(self, start, end):
        begin = max(self.text.rfind(mark, 0, start + 1) for mark in (". ", "? ", "! ", " | "))
        stop = re.compile(r"[.?!](?: |$)| \| ").search(self.text, max(end - 1, start))
        return self.text[begin + 2 if begin >= 0 else 0 : stop.end() if stop else len(self.text)].strip()


def passages(lines):
    """Joins (line number, text) pairs; None ends a passage."""
    passage = Passage()
    for item in lines:
        if item is None:
            if passage.text:
                yield passage
            passage = Passage()
        else:
            passage.add(*item)
    if passage.text:
        yield passage


def without_code(text):
    text = re.sub(r"``.+?``|`[^`]*`", "`X`", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)  # the target of a link
    return re.sub(r"https?://\S+", "X", text)


def markdown(text):
    fence, paragraph, first = None, [], 1
    for number, line in enumerate([*text.splitlines(), ""], 1):
        words = line.strip()
        opens = re.match(r"(```+|~~~+)", words)
        if fence:
            if words.startswith(fence):
                fence = None
            continue
        if opens:
            fence = opens.group(1)
        ends = opens or not words or re.match(r"(#|\||[-*] |\d+\. |<)", words)
        if ends and paragraph:
            # Inline code may run over the end of a line: take it out of the whole paragraph.
            whole = re.sub(r"`[^`]*`", lambda code: "`X`" + "\n" * code.group().count("\n"), "\n".join(paragraph))
            yield from ((first + n, without_code(part)) for n, part in enumerate(whole.split("\n")))
            yield None
            paragraph = []
        if opens or not words:
            continue
        if words.startswith("|"):
            for cell in without_code(words).strip("|").split(" | "):
                yield (number, cell)
                yield None
            continue
        if not paragraph:
            first = number
        paragraph.append(re.sub(r"^([-*]|\d+\.|#+|>)\s+", "", words))
        if words.startswith("#"):
            yield (first, without_code(paragraph[0]))
            yield None
            paragraph = []


def yaml(text):
    for number, line in enumerate(text.splitlines(), 1):
        line = re.sub(r"\{\{.*?\}\}", "X", line)
        words = line.strip()
        if not words:
            yield None
        elif words.startswith("#"):
            yield (number, without_code(re.sub(r"^#+( --)?", "", words)))
        else:
            key = re.match(r"(- )?([\w./$\"'-]+):( |$)(.*)", words)
            value = key.group(4) if key else re.sub(r"^- ", "", words)
            if key or words.startswith("- "):
                yield None
            value, _, comment = value.partition(" # ")
            value = re.sub(r"^[|>][-+]?$", "", value.strip())
            yield (number, without_code(value.strip("\"'")))
            if comment:
                yield None
                yield (number, without_code(comment))
                yield None
            continue
        if not words.startswith("#"):
            yield None
    yield None


STRING = re.compile(
    r'//[^\n]*|r(#*)"(?P<raw>.*?)"\1|"(?P<plain>(?:\\.|[^"\\])*)"|\'(?:\\.|[^\'\\])\'', re.DOTALL
)


def rust(path, text):
    text = re.split(r"\n#\[cfg\(test\)\]\nmod \w+ \{", text)[0]
    if DOCUMENTED.search(str(path)):
        for number, line in enumerate(text.splitlines(), 1):
            words = line.strip()
            if words.startswith("///"):
                content = without_code(words[3:])
                yield (number, content) if content.strip() else None
            else:
                yield None
    for found in STRING.finditer(text):
        literal = found.group("raw") or found.group("plain")
        if not literal or " " not in literal:
            continue
        first = text.count("\n", 0, found.start()) + 1
        for n, part in enumerate(literal.split("\n")):
            part = part.rstrip("\\") if part.endswith("\\") else part
            part = re.sub(r"\{[^{}]*\}", "X", part).replace('\\"', '"').replace("\\n", " ")
            yield (first + n, without_code(part))
        yield None


def read(path):
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return passages(markdown(text))
    if path.suffix in (".yaml", ".yml", ".tpl"):
        return passages(yaml(text))
    if path.suffix == ".rs":
        return passages(rust(path, text))
    return passages(item for n, line in enumerate(text.splitlines(), 1) for item in ((n, without_code(line)), None))


def findings(path, all_rules):
    found = []
    for passage in read(path):
        for rule in all_rules:
            for hit in rule.regex.finditer(passage.text):
                sentence = passage.sentence_at(hit.start(), hit.end())
                found.append((passage.line_at(hit.start()), sentence, hit.group().strip(" .;:*,"), rule.instead))
    return sorted(found)


def self_test(all_rules):
    formats = {
        "page.md": "# Title\n\n{0}\n\n- An item. {0}\n\n| a | {0} |\n",
        "chart.yaml": "# {0}\nkey: {0}\nlist:\n  - {0}\nmap: x # {0}\n",
        "src/api/kind.rs": '/// {0}\npub struct S {{}}\nconst A: &str = "{0}";\nconst B: &str = r#"{0}"#;\n',
        "notes.txt": "{0}\n",
    }
    wrong = []
    with tempfile.TemporaryDirectory() as folder:

        def found_in(name, text, of_rules):
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return findings(path, of_rules)

        for rule in all_rules:
            words = rule.sentence.split(" ")
            wrapped = " ".join(words[: len(words) // 2]) + "\n" + " ".join(words[len(words) // 2 :])
            for name, form in formats.items():
                count = form.count("{0}")
                found = found_in(name, form.format(rule.sentence), [rule])
                if len(found) < count:
                    wrong.append(f"{name}: {rule.pattern} finds {len(found)} of {count}: {rule.sentence}")
            if not found_in("wrapped.md", wrapped + "\n", [rule]):
                wrong.append(f"{rule.pattern} does not find its sentence over two lines: {rule.sentence}")
            if found_in("code.md", f"```\n{rule.sentence}\n```\n\nThe text is `{rule.sentence}` here.\n", [rule]):
                wrong.append(f"{rule.pattern} finds its sentence in code: {rule.sentence}")
        for sentence in (HERE / "correct.txt").read_text(encoding="utf-8").splitlines():
            for _, _, words, _ in found_in("correct.md", sentence + "\n", all_rules):
                wrong.append(f"correct, and found for {words!r}: {sentence}")
    return wrong


def main(args):
    all_rules = rules()
    if args == ["--self-test"]:
        wrong = self_test(all_rules)
        print("\n".join(wrong) if wrong else f"{len(all_rules)} rules find what they must, and nothing else")
        return 1 if wrong else 0
    count = args[:1] == ["--count"]
    paths = args[1:] if count else args
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    total = 0
    for path in paths:
        found = findings(path, all_rules)
        total += len(found)
        if count and found:
            print(f"{len(found):5} {path}")
        if not count:
            for line, sentence, words, instead in found:
                print(f"{path}:{line}: {sentence}\n    {words!r} -> {instead}")
    if total:
        print(f"{total} findings in {len(paths)} files", file=sys.stderr)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
