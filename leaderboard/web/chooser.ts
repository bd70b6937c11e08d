/** The selects that choose a view: task, hardware, how the energy was obtained, and what tells the rest apart. */

import type { Board, View } from "./data";
import { choices } from "./make";
import type { State } from "./state";
import { type Shown, beside, covers, energyFrom, mixed } from "./views";

const ALL = "*";
const find = (id: string) => document.getElementById(id) as HTMLSelectElement;
const unique = (views: View[], name: (each: View) => string) => [...new Set(views.map(name))];

/** Fill them for a view; each offers what there is where those before it stay. */
export function fill(board: Board, view: Shown): void {
  const own = board.views.find((each) => each.id === view.id)!, all = mixed(view);
  const sameTask = board.views.filter((each) => each.task === own.task);
  const sameHardware = sameTask.filter((each) => each.hardware === own.hardware);
  const sides = firsts(sameTask.filter((each) => beside(board, each).length > 1));
  const same = all ? sides : sameHardware.filter((each) => each.grade === own.grade);
  choices(find("task"), unique(board.views, (each) => each.task).map((name) => [name, name === "all" ? "All tasks" : name]), own.task);
  const hardware = unique(sameTask, (each) => each.hardware).map((name): [string, string] => [name, name]);
  choices(find("hardware"), [...hardware, ...(sides.length ? [[ALL, "All hardware, side by side"] as [string, string]] : [])], all ? ALL : own.hardware);
  // The list may be too narrow for the whole name.
  find("hardware").title = all ? "" : own.hardware;
  choices(find("grade"), unique(sameHardware, (each) => each.grade ?? "").map((name) => [name, energyFrom({ ...own, grade: name })]), own.grade ?? "");
  choices(find("variant"), same.map((each) => [each.id, [count(each), all ? "" : covers(each), each.peculiar].filter(Boolean).join(", ") || "as most"]), (all ? sides.find((each) => each.asked === own.asked)! : own).id);
  find("grade").parentElement!.hidden = all;
  find("variant-label").hidden = same.length < 2;
}

/** The nearest view where one of the choosers has another value. */
export function nearest(board: Board, view: Shown, changed: "task" | "hardware" | "grade", value: string): Pick<State, "view" | "side"> {
  const own = board.views.find((each) => each.id === view.id)!;
  const side = changed === "hardware" ? value === ALL : changed === "task" && mixed(view);
  const like = (each: View) => 4 * Number(side && beside(board, each).length > 1)
    + [each.asked === own.asked, each.task === own.task, each.hardware === own.hardware, each.grade === own.grade].filter(Boolean).length;
  const able = board.views.filter((each) => (value === ALL && side ? each.task === own.task : (each[changed] ?? "") === value
    && (changed === "task" || (each.task === own.task && (changed === "hardware" || each.hardware === own.hardware)))));
  const best = able.reduce((a, b) => (like(b) > like(a) ? b : a));
  return { view: best.id, side: side && beside(board, best).length > 1 };
}

/** How many tasks, of a view over all of them. */
function count(view: View): string {
  return view.task === "all" ? /^All (\d+ tasks)$/.exec(view.what)?.[1] ?? "1 task" : "";
}

/** One view of each that was asked. */
function firsts(views: View[]): View[] {
  return views.filter((each, at) => views.findIndex((other) => other.asked === each.asked) === at);
}
