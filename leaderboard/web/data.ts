/** The data that `joulemark leaderboard build` writes: all rows as columns, and views that are spans of them. */

export type Column = (number | null)[];

export interface Pairs {
  rows: number[];
  /** P values above the diagonal, row by row; 0 sure among any, 1 among none. */
  p: number[];
  beaten_by: number[][];
}

export interface View {
  id: string;
  title: string;
  task: string;
  hardware: string;
  grade: string | null;
  variant: string;
  /** The same number where the same was asked, on whatever hardware. */
  asked: number;
  floor: number;
  energy_unit: [string, number];
  rate_unit: [string, number];
  finding: string;
  notes: string[];
  start: number;
  end: number;
  pairs: Pairs | null;
}

export type Named = "label" | "run" | "model" | "frontier" | "licence" | "precision" | "kind";
export type Figure =
  | "quality" | "quality_low" | "quality_high"
  | "energy" | "energy_low" | "energy_high"
  | "rate" | "rate_low" | "rate_high"
  | "rank" | "rank_low" | "rank_high"
  | "params" | "memory_mb" | "items" | "repeats";

export interface Board {
  schema: string;
  views: View[];
  names: Record<Named, string[]>;
  pages: { model: string[]; run: string[] };
  columns: Record<Named | Figure, Column>;
}

/** As it is sent: see `leaderboard/columns.py`, which says how it is made smaller. */
interface Sent {
  schema: string;
  views: (Omit<View, "notes"> & { notes: number[] })[];
  texts: string[];
  names: Board["names"];
  pages: Board["pages"];
  entrants: Record<string, Column>;
  columns: Record<string, Part[]>;
}

/** A figure; in brackets it stands for itself where it would else be worked out. */
type Part = number | null | [number];

const PARTS = 1_000_000;

declare global {
  interface Window {
    joulemarkBoard?: Sent;
  }
}

/** The data of the page, put together; null where its file is not there. */
export function loaded(): Board | null {
  const sent = window.joulemarkBoard;
  if (!sent) return null;
  const { columns } = sent;
  const of = (name: string) => columns[name] as Column;
  const entrants = Object.entries(sent.entrants).map(([name, own]) => [name, of("entrant").map((at) => own[at!])]);
  const energy = of("energy"), quality = of("quality"), rank = of("rank");
  const rate = columns.rate.map((part, row) => own(part, () => (10 * quality[row]!) / energy[row]!));
  const made: Record<string, Column> = { ...(columns as Record<string, Column>), ...Object.fromEntries(entrants), rate };
  for (const [name, values] of [["energy", energy], ["rate", rate]] as [string, Column][]) {
    const low = columns[`${name}_low`].map((part, row) => own(part, (below) => values[row]! * (1 - below / PARTS)));
    made[`${name}_low`] = low;
    made[`${name}_high`] = columns[`${name}_high`].map((part, row) => own(part, () => (values[row]! * values[row]!) / low[row]!));
  }
  made.rank_low = of("rank_low").map((apart, row) => (apart === null ? null : rank[row]! - apart));
  made.rank_high = of("rank_high").map((apart, row) => (apart === null ? null : rank[row]! + apart));
  const views = sent.views.map((view) => ({ ...view, notes: view.notes.map((at) => sent.texts[at]) }));
  return { schema: sent.schema, views, names: sent.names, pages: sent.pages, columns: made };
}

function own(part: Part, make: (told: number) => number): number | null {
  return part === null ? null : typeof part === "number" ? make(part) : part[0];
}

/** A figure of a row; null where it is missing. */
export function figure(board: Board, name: Figure, row: number): number | null {
  return board.columns[name][row];
}

/** A name of a row; empty where it is missing. */
export function named(board: Board, name: Named, row: number): string {
  const at = board.columns[name][row];
  return at === null ? "" : board.names[name][at];
}
