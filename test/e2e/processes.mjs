// The processes of a server, as the kernel tells of them: they come and go
// meanwhile, and a number may by now be another's.
import assert from 'node:assert/strict'
import { readFile, readdir, readlink } from 'node:fs/promises'

/** What /proc/PID/status says, by name; throws for one that has ended. */
export async function status(pid) {
  const text = await readFile(`/proc/${pid}/status`, 'utf8')
  return Object.fromEntries(text.trim().split('\n').map((line) => line.split(/:\s*/, 2)))
}

/** Fields 3 and on of /proc/PID/stat (proc(5)), without the name, in which anything may be. */
async function stat(pid) {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8')
  const [state, parent, ...rest] = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return { state, parent: Number(parent), born: rest[17] } // field 22, starttime
}

/** A process and all below it, itself first, from a single look at all. */
export async function family(pid) {
  const children = new Map()
  let first
  await Promise.all((await readdir('/proc')).filter((entry) => /^\d+$/.test(entry)).map(async (entry) => {
    try {
      const { parent, born, state } = await stat(entry)
      if (state === 'Z') return
      const s = await status(entry)
      const cmdline = await readFile(`/proc/${entry}/cmdline`, 'utf8')
      // Where a process is pid 1, or below one that is: one for each box.
      const space = await readlink(`/proc/${entry}/ns/pid`).catch((err) => {
        if (err.code === 'EACCES') return '' // one that may do more than this process
        throw err
      })
      const one = { pid: Number(entry), space, name: s.Name, uid: Number(s.Uid.split('\t')[0]), caps: BigInt('0x' + s.CapEff), confined: s.Seccomp === '2', cmdline, born }
      if (one.pid === pid) first = one
      if (!children.has(parent)) children.set(parent, [])
      children.get(parent).push(one)
    } catch (gone) {
      if (!['ENOENT', 'ESRCH'].includes(gone.code)) throw gone
    }
  }))
  assert.ok(first, `there is no process ${pid}`)
  const found = [first]
  for (const one of found) found.push(...(children.get(one.pid) ?? []))
  return found
}

/** The one launcher among processes. */
export function launcherOf(processes) {
  const launchers = processes.filter((p) => p.cmdline.startsWith('corun-launcher'))
  assert.equal(launchers.length, 1, `launchers among ${JSON.stringify(processes.map((p) => p.name))}`)
  return launchers[0]
}

/** What a process has open, by what it is, sorted: without numbers that differ from one to the next. */
export async function descriptorsOf(pid) {
  const folder = `/proc/${pid}/fd`
  const targets = await Promise.all((await readdir(folder)).map((fd) => readlink(`${folder}/${fd}`).catch((gone) => {
    if (gone.code !== 'ENOENT') throw gone
  })))
  return targets.filter((target) => target !== undefined).map((target) => target.replace(/\d+/g, '#')).sort()
}

/** Waits until none of the processes is there any more. */
export async function gone(processes) {
  for (const deadline = Date.now() + 20_000; ;) {
    const left = []
    for (const { pid, name, born } of processes) {
      const now = await stat(pid).catch(() => null)
      if (now && now.state !== 'Z' && now.born === born) left.push(`${pid} ${name}`)
    }
    if (left.length === 0) return
    assert.ok(Date.now() < deadline, `still there: ${left}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
