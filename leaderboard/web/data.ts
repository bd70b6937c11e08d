/** The data that `joulemark leaderboard build` writes: all rows as columns, and views that are spans of them. */

export type Column = (number | null)[];

export interface View {
  id: string;
  /** What was asked on what, for a heading. */
  title: string;
  task: string;
  /** Such as "All 9 tasks". */
  what: string;
  /** What more tells it from others of the same task, which may be long; empty where nothing does. */
  peculiar: string;
  hardware: string;
  grade: string | null;
  /** What the energy covers; empty where there is none. */
  scope: string | null;
  /** What modelled energy follows, such as CPU time; null where energy is measured. */
  modelled_by: string | null;
  /** The ratio of two models' energies that the power model alone may feign; 1 where energy is measured. */
  feigned: number;
  /** The same number where the same was asked, on whatever hardware. */
  asked: number;
  floor: number;
  energy_unit: [string, number];
  rate_unit: [string, number];
  /** Another one where its rows or their figures are others. */
  edition: string;
  start: number;
  end: number;
  /** Its rows that have a place on the frontier or off it, in their order. */
  judged: number[];
  /** How many have a rank. */
  ranked: number;
  /** Whether there is a file that compares these. */
  paired: boolean;
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
  /** Runs that are gone, and in whose place which stands. */
  successors: Record<string, string>;
  columns: Record<Named | Figure, Column>;
}

/** As it is sent: see `leaderboard/columns.py`, which says how it is made smaller. */
interface Sent {
  schema: string;
  most_paired: number;
  /** As columns, too. */
  views: Record<string, unknown[]>;
  names: Board["names"];
  pages: Board["pages"];
  successors: Board["successors"];
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
  return { schema: sent.schema, views: viewsOf(sent), names: sent.names, pages: sent.pages, successors: sent.successors, columns: made };
}

function viewsOf({ views, columns, most_paired }: Sent): View[] {
  let end = 0;
  return views.id.map((_, at) => {
    const told = Object.fromEntries(Object.entries(views).map(([name, own]) => [name, own[at]])) as unknown as View & { rows: number };
    const start = end;
    end += told.rows;
    const judged = span(start, end).filter((row) => columns.frontier[row] !== null);
    return { ...told, title: `${told.what} on ${told.hardware}`, start, end, judged, ranked: span(start, end).filter((row) => columns.rank[row] !== null).length, paired: judged.length <= most_paired };
  });
}

/** Whole numbers from one to before another. */
export function span(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, at) => start + at);
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
