// Everything random in a history comes from here, so that a seed gives the same
// history again.

/** Mixes numbers of 32 bits into one. */
export function mix(...numbers) {
  let h = 0x9e3779b9
  for (const n of numbers) {
    h = Math.imul(h ^ (n >>> 0), 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
    h ^= h >>> 16
  }
  return h >>> 0
}

/** A small generator of random numbers (sfc32). */
export class Random {
  constructor(seed) {
    this.a = mix(seed, 1)
    this.b = mix(seed, 2)
    this.c = mix(seed, 3)
    this.d = 1
    for (let i = 0; i < 8; i++) this.u32()
  }

  u32() {
    const t = (((this.a + this.b) | 0) + this.d) | 0
    this.d = (this.d + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = (this.c << 21) | (this.c >>> 11)
    this.c = (this.c + t) | 0
    return t >>> 0
  }

  /** 0 to n-1 */
  below(n) { return n <= 1 ? 0 : this.u32() % n }
  /** from to to, both included */
  between(from, to) { return from + this.below(to - from + 1) }
  chance(p) { return this.u32() < p * 0x100000000 }
  pick(list) { return list[this.below(list.length)] }

  /** One of [[weight, value], ...]. */
  weighted(list) {
    let total = 0
    for (const [weight] of list) total += weight
    let at = (this.u32() / 0x100000000) * total
    for (const [weight, value] of list) {
      at -= weight
      if (at < 0) return value
    }
    return list[list.length - 1][1]
  }

  shuffle(list) {
    for (let i = list.length - 1; i > 0; i--) {
      const j = this.below(i + 1)
      const x = list[i]
      list[i] = list[j]
      list[j] = x
    }
    return list
  }
}

// '\uff5e' is before '😀' by code points and after it by UTF-16 units.
const words = [
  'a', 'b', 'xyz', 'hello ', '\n', 'é', 'ß→', '日本', '😀', '👩‍💻', '🇩🇪x', 'a😀b', '"\\', '\t\u0001', '\u2028', '\ufffd', '\uff5e', '\ue000', '<b>&', '\u0000',
]

/** A text without unpaired surrogates: Yjs replaces those on the way only. */
export function text(r) {
  if (r.chance(0.008)) return r.pick(words).repeat(r.pick([64, 130, 3000]))
  let s = ''
  for (let n = r.pick([1, 1, 1, 2, 3, 6]); n > 0; n--) s += r.pick(words)
  return s
}

// Few keys, so that clients write the same ones. __proto__ and such are left out:
// JavaScript loses them, or Yjs fails on them.
export const keys = ['a', 'b', 'k', '', '1', '0', '10', 'ключ', '😀', '\uff5e', 'length']
export const key = (r) => r.pick(r.chance(0.6) ? ['a', 'b'] : keys)

const integers = [0, 1, -1, 63, 64, -64, 127, 128, 8191, 8192, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 53 - 1, -(2 ** 53) + 1]
const floats = [0.5, 0.1, -1.5, 1e21, 1e-7, 123456789.125, 1e300, 5e-324, 1.7976931348623157e308]
const bigints = [0n, 1n, -1n, 255n, 2n ** 40n, 2n ** 63n - 1n, -(2n ** 63n)]

function list(r, depth, element) {
  return Array.from({ length: r.below(4) }, () => element(r, depth + 1))
}

function object(r, depth, element) {
  const o = {}
  for (let n = r.below(4); n > 0; n--) o[r.pick(keys)] = element(r, depth + 1)
  return o
}

/** A value that the JSON in which Yjs 1 keeps formats and embeds can hold. */
export function jsonValue(r, depth = 0) {
  switch (r.below(depth < 2 ? 8 : 6)) {
    case 0: return null
    case 1: return r.chance(0.5)
    case 2: return r.pick(integers)
    case 3: return r.pick(floats)
    case 4: case 5: return text(r)
    case 6: return list(r, depth, jsonValue)
    default: return object(r, depth, jsonValue)
  }
}

/** Any value, as an element or a member of another. */
export function anyValue(r, depth = 0) {
  switch (r.below(depth < 3 ? 14 : 10)) {
    case 0: return null
    case 1: return undefined
    case 2: return r.chance(0.5)
    case 3: case 4: return r.pick(integers)
    case 5: return r.pick(floats)
    case 6: return r.pick([NaN, Infinity, -Infinity, -0])
    case 7: return r.pick(bigints)
    case 8: case 9: return text(r)
    case 10: return bytes(r)
    case 11: return list(r, depth, anyValue)
    default: return object(r, depth, anyValue)
  }
}

export const bytes = (r) => Uint8Array.from({ length: r.pick([0, 1, 3, 200]) }, () => r.below(256))

/** A value that Yjs takes as an array's element, where it tells types apart. */
export function element(r) {
  for (;;) {
    const v = anyValue(r)
    if (v !== undefined && typeof v !== 'bigint') return v
  }
}

export const embed = (r) => r.pick([object, object, list])(r, 0, jsonValue)

/** Formats for a stretch of text, of few kinds, so that they meet. */
export function formats(r) {
  const f = {}
  for (let n = r.pick([1, 1, 1, 2]); n > 0; n--) {
    f[r.pick(['b', 'b', 'i', '1', 'c😀'])] = r.chance(0.35) ? null : r.chance(0.8) ? true : jsonValue(r)
  }
  return f
}
