/** What stands behind a point, a line each: for its tip, and for those who listen. */

import { type Board, figure } from "./data";
import { decimalsFor, fixed, span } from "./format";
import type { Place } from "./judge";
import { rankText } from "./table";
import { type Shown, energyFrom, home, mixed } from "./views";

export function tell(board: Board, view: Shown, row: number, place: Place): string[] {
  const [unit, factor] = view.energy_unit, [many, rate] = view.rate_unit;
  return [
    value(board, row, "quality", 1, "points"), value(board, row, "energy", factor, `${unit} per 1,000`),
    value(board, row, "rate", rate, `${many ? `${many} ` : ""}right per Wh`), ...stands(view, row, place),
  ].filter(Boolean);
}

function value(board: Board, row: number, name: "quality" | "energy" | "rate", factor: number, unit: string): string {
  const [own, low, high] = ([name, `${name}_low`, `${name}_high`] as const).map((each) => figure(board, each, row));
  if (own === null) return "";
  const digits = name === "quality" ? 1 : decimalsFor(own * factor);
  const limits = low === null || high === null ? "" : ` (${span(low * factor, high * factor, digits)})`;
  return `${fixed(own * factor, digits)}${limits} ${unit}`;
}

/** Its place; or, where nothing is ranked, what it was measured on and how. */
function stands(view: Shown, row: number, place: Place): string[] {
  const own = home(view, row), [rank, range] = rankText(place);
  if (mixed(view)) return [own.hardware, `energy from ${energyFrom(own)}`];
  return [place.rank === null ? "not ranked" : `rank ${rank} ${range}`.trim(), `frontier: ${place.frontier || "not judged"}`];
}
