// Writes ../static/board.js from the TypeScript here: one script, no module, no map, the same bytes every time.
// Its first line has the digest of the sources, so that a test without Node can tell that it was built from them.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { build } from "esbuild";

const digest = createHash("sha256");
for (const name of readdirSync(".").filter((each) => each.endsWith(".ts")).sort()) digest.update(readFileSync(name));
await build({
  entryPoints: ["board.ts"],
  outfile: process.argv[2] ?? "../static/board.js",
  bundle: true,
  minify: true,
  charset: "utf8",
  format: "iife",
  target: "es2020",
  banner: { js: `// Built from leaderboard/web, sha256 ${digest.digest("hex")}` },
});
