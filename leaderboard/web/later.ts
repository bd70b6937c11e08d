/** Parts of the data that come when they are needed: scripts, since a page that was opened from a file may not fetch one. */

import type { View } from "./data";
import type { Taker } from "./files";

/** What is told of a view; side by side several are told of together. */
export interface Words {
  finding: string;
  notes: string[];
}

/** The judged rows of a view among each other, in their order. */
export interface Pairs {
  /** P values above the diagonal, row by row; 0 sure among any, 1 among none. */
  p: number[];
  /** For each, which of them surely beat it in quality and energy. */
  beaten_by: number[][];
}

type Kinds = { words: Words; pairs: Pairs };

declare global {
  interface Window {
    joulemarkParts?: Record<string, unknown>;
  }
}

const asked = new Map<string, Promise<unknown>>();

/** Bring a part of a view; null where it cannot be had, or is of another edition than the view's rows. */
export function bring<Kind extends keyof Kinds>(kind: Kind, view: View): Promise<Kinds[Kind] | null> {
  // Browsers keep files by their whole address.
  return load(`data/${kind}/${view.id}.js?${view.edition}`, `${kind}/${view.id} ${view.edition}`);
}

/** Bring what makes files of rows; null where it cannot be had. */
export function bringTaker(): Promise<Taker | null> {
  return load("take.js", "take");
}

function load<Part>(address: string, name: string): Promise<Part | null> {
  if (!asked.has(name)) asked.set(name, new Promise((done) => {
    const script = document.createElement("script");
    script.onload = script.onerror = () => done(window.joulemarkParts?.[name] ?? null);
    script.src = address;
    document.head.append(script);
  }));
  return asked.get(name) as Promise<Part | null>;
}
