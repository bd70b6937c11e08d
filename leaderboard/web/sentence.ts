/** What the rows that are shown come to, in words: those of the whole view are not about what filters leave. */

import { type Board, figure, named } from "./data";
import { fixed, joined } from "./format";
import { type Place, evenInJoules } from "./judge";
import type { Shown } from "./views";

const LISTED = 3;

export function sentence(board: Board, view: Shown, rows: number[], places: Map<number, Place>, floor: number): string {
  const rank = (row: number) => places.get(row)!.rank, name = (row: number) => named(board, "label", row);
  const ranked = rows.filter((row) => rank(row) !== null).sort((a, b) => rank(a)! - rank(b)!);
  const many = rows.length, all = many === 1 ? "entrant shown" : `${fixed(many, 0)} entrants shown`;
  if (!many) return "No entrant passes all filters.";
  if (!ranked.length) return `${many === 1 ? "The" : "None of the"} ${all} is ${many === 1 ? "not " : ""}ranked: no energy, or a quality below ${fixed(floor, 0)} points or not to be told from guessing.`;
  if (many === 1) return `${name(rows[0])} is the only entrant shown, with ${fixed(figure(board, "quality", rows[0]), 1)} points of quality.`;
  if (ranked.length === 1) return [`Of the ${all}, only ${name(ranked[0])} is ranked.`, best(board, rows, name)].join(" ");
  return [...leads(board, view, ranked, places, many === ranked.length ? `Of the ${all}` : `Of the ${fixed(ranked.length, 0)} ranked of ${all}`), best(board, rows, name)].join(" ");
}

/** Who of several is first by what is known of the ranges. */
function leads(board: Board, view: Shown, ranked: number[], places: Map<number, Place>, of: string): string[] {
  const by = view.modelled_by ? `by ${view.modelled_by} ` : "", most = "the most right answers per watt-hour";
  const [first, ...others] = ranked, label = named(board, "label", first), tied = ranked.filter((row) => places.get(row)!.low === 1);
  if (places.get(first)!.low === null) return [`${of}, ${by}${label} gave ${most}; who ties with it is not known.`];
  if (tied.length > 1) return [`${of}, ${tied.length > LISTED ? `${tied.length === ranked.length ? "all " : ""}${fixed(tied.length, 0)}` : joined(tied.map((row) => named(board, "label", row)))} tie ${by}for ${most}.`];
  const even = others.every((row) => evenInJoules(board, view, first, row));
  return [`${of}, ${by}${label} gives ${most}.`, ...(even ? [] : ["In joules it may be the other way round."])];
}

function best(board: Board, rows: number[], name: (row: number) => string): string {
  const quality = (row: number) => figure(board, "quality", row) ?? -Infinity;
  const most = rows.reduce((a, b) => Math.max(a, quality(b)), -Infinity), those = rows.filter((row) => quality(row) === most);
  return most === -Infinity ? "" : `The highest quality shown is ${fixed(most, 1)} points${those.length > LISTED ? "" : `, of ${joined(those.map(name))}`}.`;
}
