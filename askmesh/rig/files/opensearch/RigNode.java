import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.opensearch.Version;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.http.HttpServerTransport;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.PluginInfo;

/**
 * One OpenSearch node for tests, on the loopback address, its modules taken from the class path: the published server
 * looks for them in folders of an installation, which Maven does not bring.
 *
 * <p>Usage: RigNode HOME [setting=value ...]. Prints "READY port=P version=V" when it serves HTTP; ends on SIGTERM.
 */
final class RigNode extends Node {
  private static final List<String> MODULES =
      List.of(
          "org.opensearch.transport.Netty4ModulePlugin",
          "org.opensearch.analysis.common.CommonAnalysisModulePlugin",
          "org.opensearch.index.reindex.ReindexModulePlugin");

  private RigNode(Environment environment, Collection<PluginInfo> modules) {
    super(environment, modules, true);
  }

  public static void main(String[] arguments) throws Exception {
    Path home = Path.of(arguments[0]).toAbsolutePath();
    Files.createDirectories(home.resolve("config"));
    Settings settings = settings(home, Stream.of(arguments).skip(1).toList());
    Environment environment =
        InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "rig");
    RigNode node = new RigNode(environment, MODULES.stream().map(RigNode::module).toList());
    Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node)));
    node.start();
    var address = node.injector().getInstance(HttpServerTransport.class).boundAddress().publishAddress();
    System.out.println("READY port=" + address.getPort() + " version=" + Version.CURRENT);
    System.out.flush();
    Thread.currentThread().join();
  }

  private static Settings settings(Path home, List<String> more) {
    Settings.Builder builder =
        Settings.builder()
            .put("cluster.name", "askmesh-rig")
            .put("node.name", "rig")
            .put("path.home", home.toString())
            .put("path.data", home.resolve("data").toString())
            .put("path.logs", home.resolve("logs").toString())
            .put("discovery.type", "single-node")
            .put("network.host", "127.0.0.1")
            .put("http.port", "0")
            .put("transport.port", "0")
            .put("transport.type", "netty4")
            .put("http.type", "netty4")
            .put("node.processors", 2)
            // A developer's disk is often fuller than the 85 % at which a node stops taking shards.
            .put("cluster.routing.allocation.disk.threshold_enabled", false);
    for (String pair : more) {
      int at = pair.indexOf('=');
      builder.put(pair.substring(0, at), pair.substring(at + 1));
    }
    return builder.build();
  }

  private static PluginInfo module(String type) {
    return new PluginInfo(type, "on the class path", "NA", Version.CURRENT, "21", type, null, List.of(), false);
  }

  private static void close(Node node) {
    try {
      node.close();
    } catch (Exception failure) {
      failure.printStackTrace();
    }
  }
}
