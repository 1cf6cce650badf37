// foreign.cjs - npm's redlock 5 as a client of the torture: foreign.cjs HOST:PORT,...
//
// Takes "dlock:foreign", which is the key of the name "foreign", until it is killed. Its
// own validity is its deadline. TORTURE_BOOT_MS is CLOCK_BOOTTIME less CLOCK_MONOTONIC,
// which is the clock that node has.
"use strict";

const fs = require("fs");
const Client = require("ioredis");
const { default: Redlock } = require("redlock");

const ttl = 2000;
const proc = process.env.TORTURE_PROC;
const log = fs.openSync(`${process.env.TORTURE_HISTORY}/${proc}.log`, "a");
const offset = BigInt(process.env.TORTURE_BOOT_NS);
const clients = process.argv[2].split(",").map((server) => {
	const [host, port] = server.split(":");
	const client = new Client({ host, port: Number(port), commandTimeout: 500, maxRetriesPerRequest: 0 });
	client.on("error", () => {});
	return client;
});

function now() {
	return process.hrtime.bigint() + offset;
}

function tell(operation, result, call, deadline) {
	const known = deadline === undefined ? "-" : String(deadline);
	fs.writeSync(log, `e ${proc} 1 ${operation} X foreign ${result} - ${call} ${now()} ${known} -\n`);
}

function pause(ms) {
	return new Promise((resolve) => setTimeout(resolve, ms));
}

async function round(redlock) {
	let lock;
	let call = now();
	try {
		lock = await redlock.acquire(["dlock:foreign"], ttl);
	} catch (error) {
		return;
	}
	// A millisecond less, for what the clock of its dates leaves out.
	const deadline = now() + BigInt(Math.floor(lock.expiration - Date.now() - 1)) * 1000000n;
	tell("lock", "ok", call, deadline);
	await pause(30 * Math.random());
	call = now();
	tell("unlock", "ok", call);
	try {
		await lock.release();
	} catch (error) {
		return;
	}
}

async function main() {
	// Without its own retries: between those it keeps the masters that it got.
	const redlock = new Redlock(clients, { retryCount: 0 });
	redlock.on("error", () => {});
	for (;;) {
		await round(redlock);
		await pause(10 + 60 * Math.random());
	}
}

process.on("unhandledRejection", () => {});
main();
