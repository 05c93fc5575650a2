// Plurals and numbers as a language has them. Nothing here knows any words.

/** The languages of the page, as BCP 47 has them; a region may follow, which decides how times are written. */
export type Locale = string

/**
 * Chooses between the forms of a language that has two, by its own rule: what is one, and
 * what is other than that.
 */
export function counted(locale: Locale): (n: number, one: string, other: string) => string {
  const rules = new Intl.PluralRules(locale)
  return (n, one, other) => (rules.select(n) === 'one' ? one : other)
}

const formats = new Map<string, Intl.NumberFormat>()

/** A number with as many decimals as it has, up to three, or with just so many. No grouping: it may be copied. */
export function numbers(locale: Locale, n: number, decimals?: number): string {
  const key = `${locale} ${decimals ?? ''}`
  let format = formats.get(key)
  if (format === undefined) {
    const digits = decimals === undefined ? { maximumFractionDigits: 3 } : { minimumFractionDigits: decimals, maximumFractionDigits: decimals }
    format = new Intl.NumberFormat(locale, { useGrouping: false, ...digits })
    formats.set(key, format)
  }
  return format.format(n)
}
