import { call } from '../api.ts'
import type { Run } from '../live/messages.ts'
import type { SeenCase, TestCase, TestsSource } from '../live/tests.ts'

/** The calls about tests; token gives the one that is good now. */
export function testsOf(room: string, token: () => string): TestsSource & { save(cases: TestCase[]): Promise<void> } {
  const path = `/rooms/${room}`
  return {
    cases: async () => (await call<{ cases: SeenCase[] }>('GET', `${path}/tests`, token())).cases,
    results: (run) => call('GET', `${path}/runs/${run}/tests`, token()),
    lastRun: async () => (await call<Run[]>('GET', `${path}/runs`, token())).find((run) => run.mode === 'tests')?.number ?? null,
    save: async (cases) => { await call('PUT', `${path}/tests`, token(), { cases }) },
  }
}
