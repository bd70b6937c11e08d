// Writes ../static/{board,compare,take,theme}.js from the TypeScript here: classic scripts, no maps, the same bytes every time.
// Their first line has the digest of the sources, so that a test without Node can tell that they were built from them.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { build } from "esbuild";

const digest = createHash("sha256");
for (const name of readdirSync(".").filter((each) => each.endsWith(".ts")).sort()) digest.update(readFileSync(name));
await build({
  entryPoints: ["board.ts", "compare.ts", "take.ts", "theme.ts"],
  outdir: process.argv[2] ?? "../static",
  bundle: true,
  minify: true,
  charset: "utf8",
  format: "iife",
  target: "es2022",
  banner: { js: `// Built from leaderboard/web, sha256 ${digest.digest("hex")}` },
});
