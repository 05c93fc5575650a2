// A mark for each language: letters that people know it by, in a hue of its own. The
// languages' own logos are trademarks that must not be drawn anew.

/** Letters and hue; a profile that is not here shows the beginning of its name. */
const marks: Record<string, [string, number]> = {
  bash: ['$_', 120], c: ['C', 215], cpp: ['C+', 225], csharp: ['C#', 285], go: ['Go', 190], haskell: ['λ', 270],
  java: ['Ja', 15], javascript: ['JS', 50], lua: ['Lu', 240], perl: ['Pl', 200], php: ['<?', 250], python: ['Py', 205],
  r: ['R', 220], ruby: ['Rb', 355], rust: ['Rs', 25], sql: ['DB', 170], typescript: ['TS', 212],
}

export function LanguageIcon({ name }: { name: string }) {
  const [letters, hue] = marks[name] ?? [name.slice(0, 2), [...name].reduce((sum, c) => (sum * 31 + (c.codePointAt(0) ?? 0)) % 360, 0)]
  return <span class="language-icon" aria-hidden="true" style={{ '--hue': String(hue) }}>{letters}</span>
}
