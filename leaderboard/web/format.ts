/** Numbers as text, as the report writes them: few digits, one number of decimals a column where that does. */

export const MISSING = "–";
const FAR_APART = 300;

export function decimalsFor(value: number, digits = 3): number {
  return value ? Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value)))) : digits - 1;
}

/** Decimals that all of these share; null, each its own, where they differ too much. */
export function shared(values: number[], most: number, digits: number): number | null {
  const known = values.filter((v) => v > 0);
  if (!known.length) return 0;
  const least = known.reduce((a, b) => Math.min(a, b));
  const largest = known.reduce((a, b) => Math.max(a, b));
  return largest < FAR_APART * least ? Math.min(most, decimalsFor(least, digits)) : null;
}

export function fixed(value: number | null, decimals: number): string {
  if (value === null) return MISSING;
  // Halves go to the even digit, as in the report; the types of this option are newer than those that we build with.
  const how = { minimumFractionDigits: decimals, maximumFractionDigits: decimals, roundingMode: "halfEven" };
  const text = value.toLocaleString("en-US", how as Intl.NumberFormatOptions);
  return text.replace("-", "−");
}

export function short(value: number, digits = 3): string {
  return fixed(value, decimalsFor(value, digits));
}

export function span(low: number | null, high: number | null, decimals: number): string {
  if (low === null || high === null) return "";
  return fixed(low, decimals) + (low < 0 ? " to " : "–") + fixed(high, decimals);
}

export function joined(names: string[]): string {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
}

/** A count such as 7.2B. */
export function count(value: number | null): string {
  if (value === null) return MISSING;
  for (const [factor, name] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]] as [number, string][]) {
    if (value >= factor) return short(value / factor, value < 10 * factor ? 2 : 3) + name;
  }
  return String(value);
}

/** Memory from MiB, such as 5.6 GiB. */
export function memory(mb: number | null): string {
  if (mb === null) return MISSING;
  return mb >= 1024 ? `${short(mb / 1024, 2)} GiB` : `${Math.round(mb)} MiB`;
}
