// Runs pytest in Pyodide:  node pyodide.mjs REPOSITORY SITE_PACKAGES [pytest arguments]
import { loadPyodide } from "pyodide";

const [repository, site, ...args] = process.argv.slice(2);
const python = await loadPyodide();
for (const [root, place] of [[repository, "/repository"], [site, "/site"]]) {
  python.FS.mkdirTree(place);
  python.FS.mount(python.FS.filesystems.NODEFS, { root }, place);
}
let status = 1;
try {
  status = python.runPython(`
import os, sys
sys.path[:0] = ["/repository", "/repository/.ci/interpreters", "/site"]
sys.dont_write_bytecode = True
os.chdir("/repository")
print("Python", sys.version)
import pytest
int(pytest.main(["-p", "no_threads", "-p", "installed_only", *${JSON.stringify(args)}]))
`);
} catch (error) {
  console.error(String(error.message ?? error).slice(-4000));
}
process.exit(status);
