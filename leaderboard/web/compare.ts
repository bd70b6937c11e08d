/** The page that sets two to four entrants side by side, in every view that has them. */

import { type Board, loaded } from "./data";
import { type Entrant, current, entrants } from "./entrants";
import { joined } from "./format";
import { kind } from "./looks";
import { bring } from "./later";
import { mark } from "./legend";
import { element } from "./make";
import { pictures } from "./panels";
import { facts, sections } from "./sides";
import { type Came, type Group, groups } from "./verdicts";

const MOST = 4, NAMED = 6;
const find = <T extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as T;

class Page {
  private known: Map<string, Entrant>;
  private chosen: (Entrant | null)[] = [];
  private boxes: HTMLInputElement[] = [];

  constructor(private board: Board) {
    this.known = entrants(board);
    for (const part of document.querySelectorAll<HTMLElement>(".live")) part.hidden = false;
    find("still").hidden = true;
    const titles = [...new Set([...this.known.values()].map((each) => each.title))].sort();
    find("entrants").replaceChildren(...titles.map((title) => element("option", { value: title })));
    this.form();
    this.read();
    window.addEventListener("hashchange", () => this.read());
  }

  private form(): void {
    const labels = Array.from({ length: MOST }, (_, at) => {
      const box = element("input", { type: "search", list: "entrants", autocomplete: "off", spellcheck: "false" }) as HTMLInputElement;
      box.addEventListener("change", () => this.choose(at, box.value.trim()));
      this.boxes.push(box);
      return element("label", {}, [mark({ ...kind(at), hollow: false }), `Entrant ${at + 1}`, box]);
    });
    const clear = element("button", { type: "button" }, ["Clear"]), copy = element("button", { type: "button" }, ["Copy link"]);
    clear.addEventListener("click", () => this.take([]));
    copy.addEventListener("click", () => void this.copy());
    find("chosen").replaceChildren(element("fieldset", { class: "row" }, [element("legend", { class: "unseen" }, ["Entrants"]), ...labels, clear, copy]));
    find("chosen").addEventListener("submit", (event) => event.preventDefault());
  }

  /** Take up the address; what the board no longer has is said. */
  private read(): void {
    const wanted = [...new Set(new URLSearchParams(location.hash.slice(1)).getAll("pin"))];
    const found = wanted.map((pin) => current(this.board, pin, this.known));
    const lost = wanted.filter((_, at) => !found[at]), followed = found.some((each, at) => each && !wanted[at].endsWith(`@${each.run}`));
    this.show([...new Set(found.filter((each) => each !== null))].slice(0, MOST));
    const said = [...(followed ? ["A run of the link was superseded: what took its place is shown."] : []), ...(lost.length ? [`Not on this board: ${lost.join(", ")}.`] : [])];
    if (said.length) find("said").textContent = said.join(" ");
  }

  private choose(at: number, title: string): void {
    const fit = title ? this.fitting(title) : [], [entrant] = fit, say = (text: string) => void (find("said").textContent = text);
    if (title && !entrant) return say(`No entrant is called “${title}”; choose one of the list.`);
    if (fit.length > 1) return say(`${fit.length} entrants have this in their name: ${joined([...fit.slice(0, NAMED).map((each) => each.title), ...(fit.length > NAMED ? [`${fit.length - NAMED} more`] : [])])}.`);
    if (entrant && this.chosen.some((each, place) => each === entrant && place !== at)) {
      this.boxes[at].value = this.chosen[at]?.title ?? "";
      return say(`${entrant.title} is chosen already.`);
    }
    const chosen = this.boxes.map((_, place) => (place === at ? entrant ?? null : this.chosen[place] ?? null));
    this.take(chosen.filter((each, place) => each && chosen.indexOf(each) === place) as Entrant[]);
  }

  /** Whose title this is, or else has all of these words in it. */
  private fitting(title: string): Entrant[] {
    const all = [...new Set(this.known.values())], own = all.filter((each) => each.title === title);
    const words = title.toLowerCase().split(/\s+/);
    return own.length ? own : all.filter((each) => words.every((word) => each.title.toLowerCase().includes(word)));
  }

  private take(chosen: Entrant[]): void {
    const hash = new URLSearchParams(chosen.map((each) => ["pin", each.key])).toString();
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
    this.show(chosen);
  }

  private show(chosen: Entrant[]): void {
    this.chosen = chosen;
    this.boxes.forEach((box, at) => (box.value = chosen[at]?.title ?? ""));
    find("said").textContent = chosen.length < 2 ? "Choose at least two entrants; type a part of a name to find one. The board's pins lead here as well." : "";
    void this.fill(chosen.length < 2 ? [] : called(chosen));
  }

  /** What they are and how they look at once, the rest when all of it has come. */
  private async fill(chosen: Entrant[]): Promise<void> {
    const { board } = this, shown = this.chosen, box = find("compared"), shared: Group[] = groups(board, chosen);
    box.replaceChildren(...(chosen.length ? this.compared(chosen, shared) : []));
    box.setAttribute("aria-busy", "true");
    const told = sections(board, chosen, shared, await came(shared));
    if (shown !== this.chosen) return;
    if (shared.length) box.append(...told);
    box.setAttribute("aria-busy", "false");
  }

  private compared(chosen: Entrant[], shared: Group[]): HTMLElement[] {
    const { board } = this, first = [element("h2", {}, ["What they are"]), facts(board, chosen)];
    if (!shared.length) return [...first, element("p", { class: "lead" }, ["Nobody asked two of these the same questions, so there is nothing to set side by side."])];
    return [...first, element("h2", {}, ["At a glance"]), pictures(board, chosen, shared)];
  }

  private async copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(location.href);
      find("said").textContent = "Copied.";
    } catch {
      find("said").textContent = "Copy the link from the address bar.";
    }
  }
}

/** Words of all views that are shared, and pairs of those that have two of the entrants. */
async function came(shared: Group[]): Promise<Came> {
  const told: Came = { words: new Map(), pairs: new Map() };
  const each = shared.flatMap(({ views, sides }) => views.flatMap((view) => [
    bring("words", view).then((words) => told.words.set(view, words)),
    ...(view.paired && sides.filter((side) => side.view === view).length > 1 ? [bring("pairs", view).then((pairs) => told.pairs.set(view, pairs))] : []),
  ]));
  await Promise.all(each);
  return told;
}

/** Without what all of them share: the run's name, where models tell them apart. */
function called(chosen: Entrant[]): Entrant[] {
  const apart = new Set(chosen.map((each) => each.run)).size > 1 || new Set(chosen.map((each) => each.model)).size < chosen.length;
  return apart ? chosen : chosen.map((each) => ({ ...each, title: each.model }));
}

const board = loaded();
if (board) new Page(board);
