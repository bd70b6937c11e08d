/** Light or dark, as the reader wants it; runs before anything is drawn, so that no wrong colour flashes. */

const NAME = "joulemark-theme";
const NEXT: Record<string, string> = { system: "light", light: "dark", dark: "system" };
const root = document.documentElement;

/** Storage may be forbidden: then the choice lasts as long as the page. */
function remembered(): string {
  try {
    return localStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}

function take(theme: string): void {
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  else delete root.dataset.theme;
}

function keep(theme: string): void {
  try {
    if (theme === "system") localStorage.removeItem(NAME);
    else localStorage.setItem(NAME, theme);
  } catch {
    // Nothing to do: the page has it already.
  }
}

take(remembered());
document.addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme")!, said = document.getElementById("theme-said")!;
  const tell = () => (button.textContent = `Theme: ${root.dataset.theme ?? "system"}`);
  const changed = (theme: string) => {
    take(theme);
    tell();
    dispatchEvent(new Event("themechange"));
  };
  button.hidden = false;
  tell();
  button.addEventListener("click", () => {
    const theme = NEXT[root.dataset.theme ?? "system"];
    keep(theme);
    changed(theme);
    said.textContent = button.textContent;
  });
  addEventListener("storage", (event) => {
    if (event.key === NAME || event.key === null) changed(event.newValue ?? "");
  });
});
