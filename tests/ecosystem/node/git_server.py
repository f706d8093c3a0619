"""Serves the Git repositories of a folder over HTTP, by Git's own program: FOLDER ADDRESS PORT."""

import http.server
import os
import pathlib
import sys
import tempfile

folder, address, port = sys.argv[1:]
served = pathlib.Path(tempfile.mkdtemp(dir=folder))
script = served / "cgi-bin" / "git"
script.parent.mkdir()
script.write_text("#!/bin/sh\nexec git http-backend\n")
script.chmod(0o755)
os.environ["GIT_PROJECT_ROOT"] = folder
os.environ["GIT_HTTP_EXPORT_ALL"] = "1"
os.chdir(served)


class Handler(http.server.CGIHTTPRequestHandler):
    # A forked child would answer as nobody, who cannot read the folder.
    have_fork = False

    def run_cgi(self):
        os.environ["GIT_PROTOCOL"] = self.headers.get("Git-Protocol", "")
        super().run_cgi()


http.server.ThreadingHTTPServer((address, int(port)), Handler).serve_forever()
