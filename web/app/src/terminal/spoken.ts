import { effect, signal } from '@preact/signals'
import { keep, load, local } from '../identity.ts'

const KEY = 'corun.spoken'

/** Whether terminals can be read by a screen reader, which costs time where much is printed: for all of this browser's. */
export const spoken = signal(load<boolean>(local, KEY) === true)

effect(() => keep(local, KEY, spoken.value ? true : null))
