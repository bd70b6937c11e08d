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

declare global {
  interface Window {
    joulemarkBoard?: Board;
  }
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
