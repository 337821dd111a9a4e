/** Subscriptions with Express. VPN_STORE, VPN_URL and PORT come from the environment. */
import express, { type Request, type Response } from "express";
import { open } from "vpnkit";

const { VPN_STORE: store = "sqlite:bot.db", VPN_URL: baseUrl = "https://sub.example.com/s", PORT = "8080" } = process.env;

const kit = await open({ store });
await kit.subscriptions.configure({ baseUrl, title: "Example" });

const app = express();
// vpnkit's own tag covers headers too.
app.disable("etag");
app.get("/s/:token{/:format}", async (request: Request<{ token: string; format?: string }>, response: Response) => {
  const { token, format } = request.params;
  const { status, headers, body } = await kit.subscriptions.forRequest(token, request.headers, format);
  response.status(status).set(headers).send(body);
});

const server = app.listen(Number(PORT), "127.0.0.1");
process.once("SIGTERM", () => server.close(() => void kit.close()));
