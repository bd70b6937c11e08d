/** The page that sets two to four entrants side by side, in every view that has them. */

import { type Board, loaded } from "./data";
import { type Entrant, entrants } from "./entrants";
import { kind } from "./looks";
import { mark } from "./legend";
import { element } from "./make";
import { pictures } from "./panels";
import { facts, sections } from "./sides";
import { type Group, groups } from "./verdicts";

const MOST = 4;
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
    const found = wanted.map((key) => this.known.get(key));
    const lost = wanted.filter((_, at) => !found[at]);
    this.show([...new Set(found.filter((each) => each !== undefined))].slice(0, MOST));
    if (lost.length) find("said").textContent = `Not on this board: ${lost.join(", ")}.`;
  }

  private choose(at: number, title: string): void {
    const entrant = [...this.known.values()].find((each) => each.title === title);
    if (title && !entrant) {
      find("said").textContent = `No entrant is called “${title}”; choose one of the list.`;
      return;
    }
    const chosen = this.boxes.map((_, place) => (place === at ? entrant ?? null : this.chosen[place] ?? null));
    this.take(chosen.filter((each, place) => each && chosen.indexOf(each) === place) as Entrant[]);
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
    find("compared").replaceChildren(...(chosen.length < 2 ? [] : this.compared(called(chosen))));
  }

  private compared(chosen: Entrant[]): HTMLElement[] {
    const { board } = this, shared: Group[] = groups(board, chosen);
    const first = [element("h2", {}, ["What they are"]), facts(board, chosen)];
    if (!shared.length) return [...first, element("p", { class: "lead" }, ["Nobody asked two of these the same questions, so there is nothing to set side by side."])];
    return [...first, element("h2", {}, ["At a glance"]), pictures(board, chosen, shared), ...sections(board, chosen, shared)];
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

/** Without what all of them share: the run's name, where models tell them apart. */
function called(chosen: Entrant[]): Entrant[] {
  const apart = new Set(chosen.map((each) => each.run)).size > 1 || new Set(chosen.map((each) => each.model)).size < chosen.length;
  return apart ? chosen : chosen.map((each) => ({ ...each, title: each.model }));
}

const board = loaded();
if (board) new Page(board);
