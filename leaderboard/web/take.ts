/** Files of the rows that are shown: a script of its own, since few readers take any. */

import { type Taker, asCsv, lines, save } from "./files";

(window.joulemarkParts ??= {}).take = { asCsv, lines, save } satisfies Taker;
