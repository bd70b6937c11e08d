/** What a reader takes along: the rows that are shown, as CSV or JSON. */

import { type Board, type Figure, figure, named } from "./data";
import type { Place } from "./judge";
import { type Shown, covers, home } from "./views";

const FIGURES: Record<string, Figure> = {
  quality: "quality", quality_low: "quality_low", quality_high: "quality_high",
  energy_wh_per_1k: "energy", energy_wh_per_1k_within_low: "energy_low", energy_wh_per_1k_within_high: "energy_high",
  correct_per_wh: "rate", correct_per_wh_within_low: "rate_low", correct_per_wh_within_high: "rate_high",
  items: "items", repeats: "repeats", params: "params", peak_memory_mb: "memory_mb",
};

/** What `take.ts` hands over. */
export interface Taker {
  lines: typeof lines;
  asCsv: typeof asCsv;
  save: typeof save;
}

export type Line = Record<string, string | number | boolean | null>;

/**
 * Rows with the names of `joulemark rank --json`; null is missing. `exact` says whether ranks have their ranges,
 * `frontier_exact` that nobody who is unclear may be on the frontier of these rows.
 */
export function lines(board: Board, view: Shown, rows: number[], places: Map<number, Place>, known: { exact: boolean; frontier_exact: boolean }): Line[] {
  return rows.map((row) => {
    const place = places.get(row)!, own = home(view, row);
    const name = (column: Parameters<typeof named>[1]) => named(board, column, row) || null;
    return {
      rank: place.rank, rank_low: place.low, rank_high: place.high, model: name("model"), label: name("label"), run_id: name("run"),
      task: own.task, hardware: own.hardware, grade: own.grade, scope: own.grade && covers(own), frontier: place.frontier === "unknown" ? null : place.frontier || null, ...known,
      ...Object.fromEntries(Object.entries(FIGURES).map(([key, column]) => [key, digits(column, figure(board, column, row))])),
      precision: name("precision"), licence: name("licence"),
    };
  });
}

/** With as many digits as the data have; what was worked out from them has more. */
function digits(column: Figure, value: number | null): number | null {
  return value === null ? null : Number(value.toPrecision(/_(low|high|mb)$/.test(column) ? 5 : 7));
}

/** CSV; text that a spreadsheet would run as a formula gets a leading apostrophe. */
export function asCsv(told: Line[]): string {
  const cell = (value: Line[string]) => {
    if (value === null) return "";
    if (typeof value !== "string") return String(value);
    const text = /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : value;
    return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  const names = told.length ? Object.keys(told[0]) : [];
  return [names.join(","), ...told.map((line) => names.map((name) => cell(line[name])).join(","))].join("\n") + "\n";
}

export function save(name: string, kind: string, text: string): void {
  const link = document.createElement("a");
  const address = URL.createObjectURL(new Blob([text], { type: kind }));
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
