#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares decodes through the bridge with software decoders, frame by frame.

usage: run.py --viaduct PROGRAM [--codec all] [--client ffmpeg,gst] [--jobs N] [FILE...]

Streams come from the corpus (VIADUCT_CORPUS, --corpus, ../shared/corpus) or the command line.
For each, `viaduct exec --stats` runs a stock client. The service's counters must show that the
bridge decoded the pictures, since programs fall back to software silently.

`clean` streams must be equal. Damaged streams only must not hang, crash a worker or stop the
service. A stream that VA-API cannot express is skipped, with the reason, if the counters say that
the bridge was not asked.
"""
import argparse
import concurrent.futures
import os
import subprocess
import sys
import time

import clients
import corpus
import document
import facts
import report
import verdict


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viaduct", help="the viaduct program to test")
    parser.add_argument("--corpus", help="folder with a manifest.tsv")
    parser.add_argument("--codec", default="h264", help="list, or all")
    parser.add_argument("--status", default="clean,errors,fail,novideo")
    parser.add_argument("--client", default="ffmpeg", help="list of ffmpeg, gst-va, gst-vaapi, gst")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--every", type=int, default=1, help="only every N-th stream")
    parser.add_argument("--timeout", type=float, default=clients.TIMEOUT,
                        help="seconds for a stream")
    parser.add_argument("--threads", default="", help="decoder threads of the service")
    parser.add_argument("--surface-format", default="", help="surfaces of this format only")
    parser.add_argument("--backend", default="", help="back end of the service")
    parser.add_argument("--chain", default="", metavar="ENGINE",
                        help="a second service in front, whose ENGINE (vaapi, avcodec:vaapi) has "
                             "Viaduct's own driver as the host's VA-API driver")
    parser.add_argument("--if-offered", action="store_true",
                        help="skip everything (77) unless the service offers the codecs")
    parser.add_argument("--verbose", action="store_true", help="a line for each stream")
    parser.add_argument("--results", help="add the verdicts to this file")
    parser.add_argument("--failed", action="store_true",
                        help="only streams that failed or are missing in --results")
    parser.add_argument("--table", help="write the document from the verdicts")
    parser.add_argument("--fluster", action="store_true", help="fluster's summary of the verdicts")
    parser.add_argument("--only-report", action="store_true", help="decode nothing")
    parser.add_argument("--write-suites", metavar="DIR", help="write test suites for fluster")
    parser.add_argument("--self-check", action="store_true", help="test the runner itself")
    parser.add_argument("files", nargs="*")
    return parser.parse_args()


def offered(bridge):
    """The profiles that the service offers."""
    run = clients.execute([bridge.prefix[0], "info"], bridge)
    _, _, table = run.said.partition("PROFILE")
    return table


def engine(args):
    return args.backend or args.chain or "software"


def run_all(todo, client, bridge, args, results):
    """Runs the streams through one client; returns whether none failed and some passed."""
    totals = {"ok": 0, "FAIL": 0, "skip": 0}
    odd = save_at = 0
    if args.failed:
        todo = [s for s in todo if results.wrong(engine(args), client.name, s)]
    client.prepare(bridge)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for stream, said in zip(todo, pool.map(lambda s: verdict.check(s, client, bridge), todo)):
            totals[said.kind] += 1
            odd += said.odd
            results.add(engine(args), client.name, stream, said)
            if time.monotonic() > save_at:
                results.save()
                save_at = time.monotonic() + 5
            if said.kind == "FAIL" or said.odd or args.files or args.verbose:
                print(f"{said.kind:4} {stream.file or stream.path}: {said.why}", flush=True)
    client.close()
    print(f"{client.name}: {totals['ok']} passed, {totals['FAIL']} failed, "
          f"{totals['skip']} skipped" + (f", {odd} to look at" if odd else ""), flush=True)
    return not totals["FAIL"] and bool(totals["ok"] or totals["skip"] or args.failed)


def software_scores(streams, jobs):
    """Which vectors ffmpeg's software decoder passes, for fluster's table."""
    def one(stream):
        client = clients.Ffmpeg()
        return client.software(stream, facts.CODECS.get(stream.codec)).md5 == stream.raw_md5
    todo = [s for s in streams if s.status == "clean" and not s.reason]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return dict(zip((s.file for s in todo), pool.map(one, todo)))


def main():
    args = arguments()
    clients.TIMEOUT = args.timeout
    if args.self_check:
        here = os.path.dirname(os.path.abspath(__file__))
        return subprocess.run([sys.executable, os.path.join(here, "test_run.py")],
                              check=False).returncode
    try:
        chosen = clients.clients(args.client)
        folder = corpus.find(args.corpus)
        streams = corpus.load(folder) if folder else []
        todo = corpus.select(streams, args.codec, args.status, args.every)
    except (ValueError, corpus.BadManifest) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    if args.files:
        todo = [named(path, streams) for path in args.files]
    elif not folder:
        print("SKIP: no corpus (set VIADUCT_CORPUS)")
        return 77
    elif not todo:
        print(f"SKIP: the corpus has no such streams ({args.codec}, {args.status})")
        return 77
    if args.write_suites:
        suites, vectors, left = report.write_suites(streams, args.write_suites)
        print(f"{suites} suites, {vectors} vectors; {left} clean streams that fluster has no codec "
              "or format for, or that it cuts, scales or turns, or that have sound")
        return 0
    results = report.Results(args.results)
    good = True
    if not args.only_report:
        if not args.viaduct:
            print("run.py: --viaduct is needed", file=sys.stderr)
            return 2
        bridge = clients.Bridge(args.viaduct, args.threads, args.surface_format, args.backend,
                                args.chain)
        if args.if_offered:
            table = offered(bridge)
            names = [n for n in facts.wanted(args.codec) if n and facts.CODECS[n].info not in table]
            if names:
                print(f"SKIP: the service offers no {', '.join(names)}")
                return 77
        for client in chosen:
            good = run_all(todo, client, bridge, args, results) and good
            results.save()
    if args.fluster:
        print(report.fluster(todo, results, software_scores(todo, args.jobs)))
    if args.table:
        # What follows is another program's.
        kept = ""
        if os.path.exists(args.table):
            with open(args.table, encoding="utf-8") as old:
                kept = "".join(old.read().partition("\n## ONNX operators")[1:])
        with open(args.table, "w", encoding="utf-8") as out:
            out.write(document.write(streams, results, args.viaduct) + kept)
    return 0 if good else 1


def named(path, streams):
    """A file of the command line: a row of the manifest, if it is one of the corpus."""
    for stream in streams:
        if os.path.realpath(path) == os.path.realpath(stream.path):
            return stream
    found = probe(path)
    profile = found.get("profile", "")
    return corpus.Stream(path=path, codec=found.get("codec_name", ""),
                         profile="" if profile == "unknown" else profile,
                         pix_fmt=found.get("pix_fmt", ""))


def probe(path):
    """What ffprobe says of a file's first video stream."""
    run = clients.execute(["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
                           "stream=codec_name,profile,pix_fmt", "-of", "default=nw=1", path], None)
    return dict(line.partition("=")[::2] for line in run.said.splitlines() if "=" in line)


if __name__ == "__main__":
    sys.exit(main())
