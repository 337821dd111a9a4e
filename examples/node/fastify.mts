/** Subscriptions with Fastify. VPN_STORE, VPN_URL and PORT come from the environment. */
import Fastify from "fastify";
import { open } from "vpnkit";

const { VPN_STORE: store = "sqlite:bot.db", VPN_URL: baseUrl = "https://sub.example.com/s", PORT = "8080" } = process.env;

const kit = await open({ store });
await kit.subscriptions.configure({ baseUrl, title: "Example" });

const app = Fastify();
app.get<{ Params: { token: string; format?: string } }>("/s/:token/:format?", async (request, reply) => {
  const { token, format } = request.params;
  const { status, headers, body } = await kit.subscriptions.forRequest(token, request.headers, format);
  return reply.code(status).headers(headers).send(body);
});
app.addHook("onClose", () => kit.close());

await app.listen({ port: Number(PORT), host: "127.0.0.1" });
process.once("SIGTERM", () => void app.close());
