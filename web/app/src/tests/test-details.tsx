// What a test gives and expects, and what was printed instead.
import type { TestCase, TestResult } from '../live/tests.ts'
import { joinArgs } from '../runs/options.ts'
import { t } from '../strings.ts'
import { diff, linesFor, visible } from './diff.ts'

export function TestDetails({ of, result }: { of: TestCase | null; result: TestResult | undefined }) {
  return (
    <div class="test-details" data-testid="test-details">
      {result?.message && <p>{result.message}</p>}
      {of !== null && of.args.length > 0 && <Text label={t.tests.args} text={joinArgs(of.args)} />}
      {of !== null && of.stdin !== '' && <Text label={t.tests.stdin} text={of.stdin} />}
      <Comparison of={of} result={result} />
      {result?.stderr && <Text label={t.tests.stderr} text={result.stderr} />}
    </div>
  )
}

function Comparison({ of, result }: { of: TestCase | null; result: TestResult | undefined }) {
  const printed = result?.stdout
  // A pattern, or what a program judges, has no lines to compare with.
  const comparable = of !== null && (of.match === 'trimmed' || of.match === 'exact' || of.match === 'numeric')
  const lines = comparable && printed !== undefined && result?.passed === false ? diff(linesFor(of.match, of.expected), linesFor(of.match, printed)) : null
  return (
    <>
      {of !== null && of.match !== 'checker' && <Text label={of.match === 'regex' ? t.tests.pattern : t.tests.expected} text={of.expected} />}
      {printed !== undefined && <Text label={t.tests.printed} text={printed} />}
      {lines !== null && (
        <section>
          <h3>{t.tests.difference}</h3>
          <ul class="diff" tabIndex={0} aria-label={t.tests.difference} data-testid="test-diff">
            {lines.map((line, i) => (
              <li key={i} class={line.kind}>
                <span class="sr-only">{t.tests.diffKinds[line.kind]}</span>
                <span class="diff-mark" aria-hidden="true">{line.kind === 'same' ? ' ' : line.kind === 'missing' ? '−' : '+'}</span>
                {line.kind === 'same' ? line.text : visible(line.text)}
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  )
}

function Text({ label, text }: { label: string; text: string }) {
  return (
    <section>
      <h3>{label}</h3>
      <pre tabIndex={0} aria-label={label}>{text === '' ? <span class="soft">{t.tests.nothing}</span> : text}</pre>
    </section>
  )
}
