#!/usr/bin/env python3
"""Links of the book.

    links.py copy ROOT FOLDER   copies docs/ of the repository; links that leave docs/ lead to GitHub in the copy
    links.py check BOOK         every link inside the built book leads to a page and, if it names one, to an anchor
"""

import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINK = re.compile(r"\]\(([^()\s]+)\)")


def copy(root, folder):
    root, folder = Path(root).resolve(), Path(folder)
    docs = root / "docs"
    cargo = (root / "Cargo.toml").read_text(encoding="utf-8")
    repository = re.search(r'^repository = "(.*)"$', cargo, re.MULTILINE).group(1)
    listed = set(LINK.findall((docs / "SUMMARY.md").read_text(encoding="utf-8")))
    pages = {str(page.relative_to(docs)) for page in docs.rglob("*.md")} - {"SUMMARY.md"}
    if pages != listed:
        return [f"docs/SUMMARY.md and the pages differ: {name}" for name in sorted(pages ^ listed)]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(docs, folder)
    for page in pages:
        here = (docs / page).parent

        def to_github(link, here=here):
            target = link.group(1)
            if ":" in target or target.startswith("#"):
                return link.group()
            path, mark, anchor = target.partition("#")
            path = (here / path).resolve()
            if path.is_relative_to(docs) or not path.exists():
                return link.group()
            return f"]({repository}/blob/main/{path.relative_to(root)}{mark}{anchor})"

        text = (docs / page).read_text(encoding="utf-8")
        (folder / page).write_text(LINK.sub(to_github, text), encoding="utf-8")
    return []


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.anchors, self.links = {""}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors.update(filter(None, (attrs.get("id"), attrs.get("name"))))
        self.links.extend(filter(None, (attrs.get("href"), attrs.get("src"))))


def check(book):
    book = Path(book).resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in book.rglob("*.html")}
    wrong, followed = [], 0
    for path, page in pages.items():
        # This page is served under any address, and its links are absolute.
        if path.name == "404.html":
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            followed += 1
            if not target.exists():
                wrong.append(f"{path.relative_to(book)}: {link} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                wrong.append(f"{path.relative_to(book)}: {link}: there is no such anchor")
    if followed < 100:
        wrong.append(f"only {followed} links in {book}: this is not the book")
    return sorted(set(wrong))


def main(args):
    commands = {"copy": (copy, 3), "check": (check, 2)}
    command, count = commands.get(args[0] if args else "", (None, 0))
    if not command or len(args) != count:
        print(__doc__, file=sys.stderr)
        return 2
    wrong = command(*args[1:])
    print("\n".join(wrong), end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
